// Several calls of an operation at once: their work is recorded and launched together.
#include <algorithm>

#include "plugin.hpp"

namespace rpu::RPU_LEVEL {

thread_local Recording* recording_of_thread = nullptr;
#if !defined(__CUDACC__)
int64_t rpu_emulated_launches = 0;
#endif

void Recording::launch(Queue queue) const {
  size_t longest = 0;
  for (const auto& call : calls_) longest = std::max(longest, call.size());
  for (size_t place = 0; place < longest; ++place) launch_place(queue, place);
}

void Recording::launch_place(Queue queue, size_t place) const {
  struct Kind {
    Launch launch;
    std::vector<const void*> works;
  };
  std::vector<Kind> kinds;
  for (const auto& call : calls_) {
    if (place >= call.size()) continue;
    const Recorded& recorded = call[place];
    auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& k) { return k.launch == recorded.launch; });
    if (kind == kinds.end()) kind = kinds.insert(kind, Kind{recorded.launch, {}});
    kind->works.push_back(recorded.work.get());
  }
  for (const Kind& kind : kinds) kind.launch(queue, kind.works);
}

namespace {

constexpr uint64_t kMostMemory = uint64_t{256} << 20;  // of the calls that are launched together

void run_one(Operation operation, const void* args, const RpuCall& on) {
  switch (operation) {
#define RPU_OPERATION(name, Args) \
  case Operation::name: return run_##name(*static_cast<const Args*>(args), on);
    RPU_OPERATIONS(RPU_OPERATION)
#undef RPU_OPERATION
    case Operation::kCount: break;
  }
}

/// Lets the calls of this thread be recorded while it lives.
class Recorder {
 public:
  Recorder() { recording_of_thread = &recording; }
  ~Recorder() { recording_of_thread = nullptr; }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  Recording recording;
};

/// The workspaces of calls in memory of their own each: first only measured, then one after the other.
struct Shares {
  std::vector<uint64_t> bytes;
  char* memory = nullptr;

  static uint64_t rounded(uint64_t n) { return (n + 255) / 256 * 256; }
  static void* measure(void* context, uint64_t n) {
    static_cast<Shares*>(context)->bytes.back() = rounded(n);
    return reinterpret_cast<void*>(uintptr_t{256});  // never touched: what would touch it is not launched
  }
  static void* hand_out(void* context, uint64_t n) {
    auto& self = *static_cast<Shares*>(context);
    char* at = self.memory;
    self.memory += rounded(n);
    return at;
  }
};

/// What each of the calls needs.
std::vector<uint64_t> measured(const ManyCall& many, const RpuCall& on) {
  Shares shares;
  RpuCall call = on;
  call.allocate = Shares::measure, call.context = &shares;
  for (int64_t i = 0; i < many.n; ++i) {
    Recorder recorder;
    recorder.recording.next_call();
    shares.bytes.push_back(0);
    run_one(many.operation, many.args[i], call);
  }
  return shares.bytes;
}

/// Neighbouring calls that have room together.
struct Group {
  int64_t first, last;
  uint64_t bytes;
};

std::vector<Group> groups_of(const std::vector<uint64_t>& bytes) {
  std::vector<Group> groups;
  for (int64_t i = 0; i < static_cast<int64_t>(bytes.size()); ++i) {
    const uint64_t own = bytes[static_cast<size_t>(i)];
    if (groups.empty() || groups.back().bytes + own > kMostMemory) groups.push_back({i, i, 0});
    groups.back().last = i + 1;
    groups.back().bytes += own;
  }
  return groups;
}

void run_group(const ManyCall& many, const Group& group, const RpuCall& on, void* memory) {
  Shares shares{{}, static_cast<char*>(memory)};
  RpuCall call = on;
  call.allocate = Shares::hand_out, call.context = &shares;
  Recorder recorder;
  for (int64_t i = group.first; i < group.last; ++i) {
    recorder.recording.next_call();
    run_one(many.operation, many.args[i], call);
  }
  recorder.recording.launch(static_cast<Queue>(on.stream));
}

}  // namespace

void run_many(const ManyCall& many, const RpuCall& on) {
  if (many.operation == Operation::many) throw Error(ErrorKind::Config, "calls of many calls are not for the plugin");
  if (many.n == 1) return run_one(many.operation, many.args[0], on);
  const std::vector<Group> groups = groups_of(measured(many, on));
  uint64_t bytes = 0;
  for (const Group& group : groups) bytes = std::max(bytes, group.bytes);
  void* memory = bytes > 0 ? on.allocate(on.context, bytes) : nullptr;
  if (bytes > 0 && memory == nullptr) throw_no_memory(bytes);
  for (const Group& group : groups) run_group(many, group, on, memory);  // one after the other, in the same memory
}

}  // namespace rpu::RPU_LEVEL
