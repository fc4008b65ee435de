#include "thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
#if !defined(_WIN32)
#  include <pthread.h>
#endif

#include "../errors.hpp"
#include "float_environment.hpp"

namespace rpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kWorthWaking = 50'000;  // ns; waking a parked thread costs 10 to 60 us
constexpr int64_t kWorthSharing = 4'500;  // ns; telling one that spins costs less than 1 us
constexpr int64_t kWorthOpenMp = 20'000;  // ns; its threads mostly spin, and then telling one takes 1 to 2 us
constexpr int kWorthKeepingAwake = 4;     // so many shareable calls ...
constexpr auto kSoon = std::chrono::microseconds(30);  // ... of which each follows this soon on the one before
constexpr int kSpins = 2000;              // a longer spin slows other libraries' threads on small machines
constexpr int kMostThreads = 256;

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Tasks [next, end) of one thread, on a cache line of their own.
struct alignas(64) Share {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

class ThreadPool {
 public:
  static ThreadPool& instance() {
    static ThreadPool* pool = new ThreadPool;  // never destroyed: threads may outlive static destructors
    return *pool;
  }

  int size() const { return size_.load(std::memory_order_relaxed); }
  void resize(int n) { size_.store(n < 1 ? 1 : n > kMostThreads ? kMostThreads : n, std::memory_order_relaxed); }

  void use(const OpenMp& library) {
    if (forked_.load(std::memory_order_relaxed)) return;  // a child computes alone, and its parent may have held the lock
    const std::lock_guard<std::mutex> only_caller(callers_);
    openmp_ = library;
  }

  void run(int64_t n_tasks, int64_t work_ns, TaskFunction task, void* context) {
    const FloatEnvironment pinned;
    const bool serial = n_tasks < 2 || size() < 2 || work_ns < kWorthSharing || in_task_ ||
                        forked_.load(std::memory_order_relaxed);
    std::unique_lock<std::mutex> only_caller(callers_, std::defer_lock);
    if (serial || !only_caller.try_lock()) return run_alone(n_tasks, task, context);

    if (openmp_.parallel != nullptr) {
      if (work_ns < kWorthOpenMp) return run_alone(n_tasks, task, context);
      divide(n_tasks, task, context);
      return openmp_.parallel([](void* pool) { static_cast<ThreadPool*>(pool)->work_in_team(); }, this,
                              static_cast<unsigned>(n_shares_), 0);
    }
    const bool wakes = work_ns >= kWorthWaking || is_one_of_many();
    if (wakes || n_spinning_.load(std::memory_order_relaxed) > 0) {
      start_workers();
      open(n_tasks, task, context, wakes);
      work(0);
      close();
    } else {
      run_alone(n_tasks, task, context);
    }
    last_end_ = Clock::now();
  }

 private:
  static int initial_threads() {
    const char* wish = std::getenv("RPU_NUM_THREADS");
    if (wish == nullptr || *wish == '\0') return static_cast<int>(std::thread::hardware_concurrency());
    char* end = nullptr;
    const long n = std::strtol(wish, &end, 10);
    if (*end != '\0' || n < 1)
      throw Error(ErrorKind::Config, "RPU_NUM_THREADS must be a whole number of at least 1, not '" + std::string(wish) + "'");
    return static_cast<int>(n < kMostThreads ? n : kMostThreads);
  }

  ThreadPool() {
    resize(initial_threads());
#if !defined(_WIN32)
    pthread_atfork(nullptr, nullptr, [] { instance().forked_.store(true); });  // a child has no workers
#endif
  }

  static void run_alone(int64_t n_tasks, TaskFunction task, void* context) {
    for (int64_t i = 0; i < n_tasks; ++i) task(context, i);
  }

  /// Whether short calls follow each other so closely that a thread woken for this one is still awake at the next.
  bool is_one_of_many() {
    in_a_row_ = Clock::now() - last_end_ < kSoon ? in_a_row_ + 1 : 0;
    return in_a_row_ >= kWorthKeepingAwake;
  }

  void start_workers() {
    while (static_cast<int>(n_workers_) < size() - 1) {
      std::thread([this, share = n_workers_ + 1] { serve(share); }).detach();
      ++n_workers_;
    }
  }

  void divide(int64_t n_tasks, TaskFunction task, void* context) {
    task_ = task, context_ = context;
    n_shares_ = std::min<int64_t>(size(), n_tasks);
    for (int64_t i = 0; i < n_shares_; ++i) {
      shares_[i].next.store(n_tasks * i / n_shares_, std::memory_order_relaxed);
      shares_[i].end = n_tasks * (i + 1) / n_shares_;
    }
  }

  /// What a thread of OpenMP does.
  void work_in_team() {
    const FloatEnvironment pinned;
    work(openmp_.thread_number());
  }

  /// Lets threads in: a thread that spins notices without a lock.
  void open(int64_t n_tasks, TaskFunction task, void* context, bool wakes) {
    divide(n_tasks, task, context);
    generation_.fetch_add(1);
    if (!wakes) return;
    { const std::lock_guard<std::mutex> after_who_looked(mutex_); }
    wake_.notify_all();
  }

  /// No thread may enter any more; those inside finish the task they have claimed. A thread first counts itself in and then
  /// looks whether its call is open, this first closes the call and then looks who is inside, so that one sees the other.
  void close() {
    generation_.fetch_add(1);
    while (inside_.load() != 0) pause();
  }

  static bool is_open(uint64_t generation) { return generation % 2 == 1; }

  /// The thread's own share first, then what others have left of theirs: the same thread gets the same tasks from call to
  /// call, so that their data stay in its cache.
  void work(int64_t own) {
    in_task_ = true;
    for (int64_t k = 0; k < n_shares_; ++k) {
      Share& share = shares_[own + k < n_shares_ ? own + k : own + k - n_shares_];
      for (int64_t i; (i = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) task_(context_, i);
    }
    in_task_ = false;
  }

  void serve(int64_t share) {
    const FloatEnvironment pinned;
    uint64_t seen = 0;
    for (;;) {
      const uint64_t found = next_after(seen);
      if (is_open(found)) {
        inside_.fetch_add(1);
        if (generation_.load() == found && share < n_shares_) work(share);
        inside_.fetch_sub(1);
      }
      seen = found;
    }
  }

  /// Waits for a call after the one that was seen, or until woken for one that has ended meanwhile.
  uint64_t next_after(uint64_t seen) {
    uint64_t found = seen;
    const auto finds_open = [&] { return is_open(found = generation_.load()) && found != seen; };
    n_spinning_.fetch_add(1, std::memory_order_relaxed);
    bool finds = finds_open();
    for (int spin = 0; spin < kSpins && !finds; ++spin) {
      pause();
      finds = finds_open();
    }
    n_spinning_.fetch_sub(1, std::memory_order_relaxed);
    if (finds) return found;
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [&] { return finds_open() || found > seen + 1; });
    return found;
  }

  std::mutex callers_, mutex_;
  std::condition_variable wake_;
  std::atomic<int> size_{1};
  std::atomic<bool> forked_{false};
  alignas(64) std::atomic<uint64_t> generation_{0};  // odd while a call is open
  alignas(64) std::atomic<int> inside_{0};
  alignas(64) std::atomic<int> n_spinning_{0};
  Share shares_[kMostThreads];  // of the caller, then of the workers
  int64_t n_workers_ = 0, n_shares_ = 0;
  int in_a_row_ = 0;            // shareable calls, guarded by callers_
  Clock::time_point last_end_;  // of the last shareable call
  OpenMp openmp_{};
  TaskFunction task_ = nullptr;
  void* context_ = nullptr;
  static thread_local bool in_task_;  // what a task does in parallel, it does alone
};

thread_local bool ThreadPool::in_task_ = false;

}  // namespace

void run_tasks(int64_t n_tasks, int64_t work_ns, TaskFunction task, void* context) {
  ThreadPool::instance().run(n_tasks, work_ns, task, context);
}
void use_openmp(const OpenMp& library) { ThreadPool::instance().use(library); }
int num_threads() { return ThreadPool::instance().size(); }
void set_num_threads(int n) { ThreadPool::instance().resize(n); }

}  // namespace rpu
