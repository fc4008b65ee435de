// One pool of threads for all kernels. Work is cut into fixed tasks, independent of the number of threads. Each thread has
// a share of them, always the same, and claims tasks one by one, first its own and then those that others have left; the
// caller works too and never waits for a thread that has claimed nothing.
#pragma once
#include <cstdint>
#include <type_traits>

namespace rpu {

using TaskFunction = void (*)(void* context, int64_t task);

/// Runs task(context, 0 .. n_tasks - 1), possibly in parallel. Serial if the work is shorter than what waking a thread
/// costs, if the pool is busy with another caller, within a task, or in a forked child.
void run_tasks(int64_t n_tasks, int64_t work_ns, TaskFunction task, void* context);

template <class Task> void parallel_for(int64_t n_tasks, int64_t work_ns, Task&& task) {
  using T = std::remove_reference_t<Task>;
  run_tasks(n_tasks, work_ns, [](void* context, int64_t i) { (*static_cast<T*>(context))(i); }, &task);
}

/// Threads of an OpenMP library that another library in this process uses: two pools would compete for the processors, and
/// threads of OpenMP spin for long after their work. The functions are GOMP_parallel and omp_get_thread_num.
struct OpenMp {
  void (*parallel)(void (*function)(void*), void* context, unsigned threads, unsigned flags);
  int (*thread_number)();
};

/// Runs tasks on those threads from now on, with null again on threads of our own.
void use_openmp(const OpenMp& library);

int num_threads();
void set_num_threads(int n);

}  // namespace rpu
