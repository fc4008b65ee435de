#include "staging.hpp"

#include <algorithm>
#include <type_traits>

#include "../errors.hpp"
#include "accelerator.hpp"

namespace rpu {
namespace {

/// Memory on a device.
class Memory {
 public:
  Memory(const RpuPlugin& plugin, int device, uint64_t bytes)
      : plugin_(plugin), device_(device), at_(plugin.acquire(device, std::max<uint64_t>(bytes, 1))) {
    if (at_ == nullptr) throw Error(ErrorKind::Backend, "the device has no memory left; use smaller arrays");
  }
  ~Memory() { plugin_.release(device_, at_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* at() const { return at_; }

 private:
  const RpuPlugin& plugin_;
  int device_;
  void* at_;
};

class Stage {
 public:
  Stage(const RpuPlugin& plugin, int device) : plugin_(plugin), device_(device) {}

  /// Replaces the address of `n` values by that of a copy on the device; what is not const comes back in finish().
  template <class T> void array(T*& data, int64_t n) {
    if (data == nullptr || n <= 0) return;
    const uint64_t bytes = static_cast<uint64_t>(n) * sizeof(T);
    Copy& held = copy_of(data, bytes);
    held.returns |= !std::is_const_v<T>;
    data = static_cast<T*>(held.memory->at());
  }
  void matrix(Matrix& m) { array(m.data, m.rows > 0 ? (m.rows - 1) * m.stride + m.cols : 0); }
  void matrix(ConstMatrix& m) { array(m.data, m.rows > 0 ? (m.rows - 1) * m.stride + m.cols : 0); }
  void field(Field& f, int64_t rows, int64_t cols) { array(f.data, f.stride == 0 ? 1 : (rows - 1) * f.stride + cols); }
  void cells(CellFields& cells, int64_t rows, int64_t cols) {
    for (Field& f : cells.field) field(f, rows, cols);
  }

  /// The parameters of a device, with their lists of numbers on the device.
  void device_params(DeviceKind kind, const void*& params) {
#define RPU_DEVICE(name, header) \
  if (kind == DeviceKind::name) params = with_lists(*static_cast<const params::name##Device*>(params));
#include "../devices.def"
#undef RPU_DEVICE
  }

  /// Keeps something on the host as long as the operation runs.
  const void* keep(std::shared_ptr<void> held) { return held_.emplace_back(std::move(held)).get(); }

  uint32_t* faults() {
    faults_ = std::make_unique<Memory>(plugin_, device_, sizeof(uint32_t));
    const uint32_t none = 0;
    copy(faults_->at(), &none, sizeof none);
    return static_cast<uint32_t*>(faults_->at());
  }

  /// Workspace of the operation; see RpuCall.
  static void* allocate(void* context, uint64_t bytes) {
    auto& stage = *static_cast<Stage*>(context);
    stage.workspace_ = std::make_unique<Memory>(stage.plugin_, stage.device_, bytes);
    return stage.workspace_->at();
  }

  void finish() {
    for (const Copy& c : copies_)
      if (c.returns) copy(const_cast<void*>(c.host), c.memory->at(), c.bytes);
    uint32_t faults = 0;
    copy(&faults, faults_->at(), sizeof faults);
    if (faults != 0) throw Error(ErrorKind::NonFinite, "an input contains NaN or infinity; its samples were left out");
  }

 private:
  struct Copy {
    const void* host;
    uint64_t bytes;
    std::unique_ptr<Memory> memory;
    bool returns;
  };
  struct ListVisitor {
    Stage& stage;
    void operator()(const char*, params::FloatList& list) const { stage.array(list.data, list.size); }
    template <class T> void operator()(const char*, T&) const {}
  };

  /// The copy that holds this host array, made if there is none.
  Copy& copy_of(const void* host, uint64_t bytes) {
    for (Copy& c : copies_)
      if (c.host == host && c.bytes >= bytes) return c;
    copies_.push_back({host, bytes, std::make_unique<Memory>(plugin_, device_, bytes), false});
    copy(copies_.back().memory->at(), host, bytes);
    return copies_.back();
  }

  template <class Params> const void* with_lists(const Params& given) {
    auto own = std::make_shared<Params>(given);
    own->for_each_field(ListVisitor{*this});
    return keep(own);
  }

  void copy(void* to, const void* from, uint64_t bytes) {
    if (plugin_.copy(device_, to, from, bytes, nullptr) != RPU_OK) throw Error(ErrorKind::Backend, plugin_.last_error());
  }

  const RpuPlugin& plugin_;
  int device_;
  std::vector<Copy> copies_;
  std::vector<std::shared_ptr<void>> held_;
  std::unique_ptr<Memory> faults_, workspace_;
};

// -- the arrays of each operation -------------------------------------------------------------------------------------

void stage(PopulateCall& call, Stage& s) {
  s.device_params(call.device, call.args.params);
  s.cells(call.args.cells, call.args.rows, call.args.cols);
}

void stage(LifecycleArgs& args, Stage& s) {
  s.cells(args.cells, args.weights.rows, args.weights.cols);
  s.matrix(args.weights);
}

void stage(UniformArgs& args, Stage& s) { s.matrix(args.out); }

void stage(WriteArgs& args, Stage& s) {
  s.matrix(args.stored);
  s.matrix(args.visible);
}

void stage(DriftArgs& args, Stage& s) {
  const int64_t rows = args.weights.rows, cols = args.weights.cols, cells = rows * cols;
  s.cells(args.cells, rows, cols);
  s.matrix(args.weights);
  s.field(args.nu, rows, cols);
  s.array(args.age, cells);
  s.array(args.start, cells);
  s.array(args.seen, cells);
  s.array(args.before, cells);
}

void stage(UpdateCall& call, Stage& s) {
  const int64_t rows = call.weights.rows, cols = call.weights.cols, cells = rows * cols;
  s.device_params(call.device, call.device_params);
  s.cells(call.cells, rows, cols);
  s.matrix(call.weights);
  s.array(call.counts.up, cells);
  s.array(call.counts.down, cells);
  if (call.visible.data != nullptr) s.matrix(call.visible);
  s.matrix(call.x);
  s.matrix(call.d);
  s.array(call.given, cells);
  s.array(call.rates, call.x.rows);
  s.array(call.fired, 2);
}

void stage(MvmConstants& constants, int64_t outputs, int64_t cells, Stage& s) {
  s.array(constants.out_noise, outputs);
  s.array(constants.nonlinearity, outputs);
  s.array(constants.voltage_offset, outputs);
  s.array(constants.read_asymmetry, cells);
}

void stage(MvmCall& call, Stage& s) {
  stage(call.constants, call.output.cols, call.weights.rows * call.weights.cols, s);
  s.matrix(call.weights);
  s.matrix(call.input);
  s.matrix(call.output);
  s.array(call.running_mean, 1);
}

void stage(RankUpdateCall& call, Stage& s) {
  s.matrix(call.weights);
  s.matrix(call.x);
  s.matrix(call.d);
}

void stage(ConstantsArgs& args, Stage& s) { stage(args.out, args.outputs, args.rows * args.cols, s); }

void stage(ModifyCall& call, Stage& s) {
  s.matrix(call.args.source);
  s.array(call.args.out.data, call.copies * call.args.out.rows * call.args.out.cols);
}

void stage(ClipWeightsCall& call, Stage& s) {
  s.matrix(call.source);
  s.matrix(call.out);
}

void stage(IsClippedCall& call, Stage& s) {
  s.matrix(call.source);
  s.array(call.within, 1);
}

void stage(RemapWeightsCall& call, Stage& s) {
  s.matrix(call.source);
  s.matrix(call.out);
  s.array(call.scales, call.source.rows);
}

void stage(TakeStepsCall& call, Stage& s) {
  BufferedSlice& slice = call.slice;
  s.array(slice.read, slice.n);
  s.array(slice.out_sign, slice.n);
  for (float** array : {&slice.buffer, &slice.mean, &slice.past, &slice.steps}) s.array(*array, slice.n);
  s.array(call.any, 1);
}

void stage(TakeWholeStepsCall& call, Stage& s) {
  s.array(call.counts, call.chi.rows * call.chi.cols);
  s.matrix(call.chi);
  s.array(call.largest, 1);
}

void stage(CombineCall& call, Stage& s) {
  s.array(call.row_factor, call.out.rows);
  s.array(call.col_factor, call.out.cols);
  s.matrix(call.source);
  s.matrix(call.out);
}

void stage(CopyWindowsCall& call, Stage& s) {
  s.array(call.data, call.axes.extent());
  s.array(call.rows, call.axes.elements());
}

void stage(AddWindowsCall& call, Stage& s) {
  s.array(call.rows, call.axes.elements());
  s.array(call.data, call.axes.extent());
}

void stage(LargestCall& call, Stage& s) {
  s.matrix(call.values);
  s.array(call.largest, call.values.rows);
}

template <class Args> const void* staged_copy(const void* given, Stage& s) {
  const auto own = std::make_shared<Args>(*static_cast<const Args*>(given));
  stage(*own, s);
  return s.keep(own);
}

const void* staged_copy(Operation operation, const void* given, Stage& s);

void stage(ManyCall& call, Stage& s) {
  const auto all = std::make_shared<std::vector<const void*>>();
  for (int64_t i = 0; i < call.n; ++i) all->push_back(staged_copy(call.operation, call.args[i], s));
  s.keep(all);
  call.args = all->data();
}

const void* staged_copy(Operation operation, const void* given, Stage& s) {
  switch (operation) {
#define RPU_OPERATION(name, Args) \
  case Operation::name: return staged_copy<Args>(given, s);
    RPU_OPERATIONS(RPU_OPERATION)
#undef RPU_OPERATION
    case Operation::kCount: break;
  }
  return nullptr;
}

template <class Args> void run_copied(const RpuPlugin& plugin, int device, Operation operation, const void* given) {
  Args args = *static_cast<const Args*>(given);
  Stage staged(plugin, device);
  stage(args, staged);
  const RpuCall call{sizeof(RpuCall), device, nullptr, Stage::allocate, &staged, staged.faults()};
  run_on({&plugin, call, nullptr}, operation, &args);
  staged.finish();
}

}  // namespace

void run_staged(const RpuPlugin& plugin, int device, Operation operation, const void* args) {
  switch (operation) {
#define RPU_OPERATION(name, Args) \
  case Operation::name: return run_copied<Args>(plugin, device, operation, args);
    RPU_OPERATIONS(RPU_OPERATION)
#undef RPU_OPERATION
    case Operation::kCount: break;
  }
}

}  // namespace rpu
