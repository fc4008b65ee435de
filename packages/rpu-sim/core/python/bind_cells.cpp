#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "../errors.hpp"
#include "../ops/cells.hpp"
#include "bindings.hpp"
#include "from_python.hpp"

namespace rpu::python {

Device::Device(nb::handle dataclass) {
  // A class derived from a device's, such as a preset, is that device.
  for (nb::handle base : nb::cast<nb::tuple>(dataclass.type().attr("__mro__"))) {
    const std::string name = nb::cast<std::string>(base.attr("__name__"));
#define RPU_DEVICE(device, header) \
    if (name == #device "Device") params_ = from_python<params::device##Device>(dataclass, &lists_);
#include "../devices.def"
#undef RPU_DEVICE
    if (params_.index() != 0) return;
  }
  const std::string name = nb::cast<std::string>(dataclass.type().attr("__name__"));
  throw Error(ErrorKind::Config, "there is no kernel for the device " + name);
}

namespace {

/// Puts lists on a GPU.
struct ListMover {
  const Gpu& gpu;
  std::vector<std::unique_ptr<GpuMemory>>& lists;

  void operator()(const char*, params::FloatList& list) const {
    const uint64_t bytes = static_cast<uint64_t>(list.size) * sizeof(float);
    void* stream = stream_of(gpu);
    lists.push_back(std::make_unique<GpuMemory>(gpu, bytes, stream, true));
    void* moved = lists.back()->at();
    if (bytes > 0) check_status(*gpu.plugin, gpu.plugin->copy(gpu.index, moved, list.data, bytes, stream));
    list.data = static_cast<const float*>(moved);
  }
  template <class T> void operator()(const char*, T&) const {}
};

}  // namespace

const void* Device::params(const Gpu* gpu) const {
  const Params* held = &params_;
  if (gpu != nullptr) {
    auto found = on_gpus_.find(gpu);
    if (found == on_gpus_.end()) {
      OnGpu copy;
      copy.params = params_;
      const ListMover mover{*gpu, copy.lists};
      std::visit([&](auto& p) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(p)>, std::monostate>) p.for_each_field(mover);
      }, copy.params);
      found = on_gpus_.emplace(gpu, std::move(copy)).first;  // only now: an error must not leave half a copy
    }
    held = &found->second.params;
  }
  return std::visit([](const auto& p) -> const void* { return &p; }, *held);
}

Cells::Cells(Weights weights, std::vector<Weights> fields, int reference, std::optional<Weights> visible,
             float write_noise, std::optional<Counts> counts)
    : weights_(std::move(weights)), fields_(std::move(fields)), reference_(reference), visible_(std::move(visible)),
      write_noise_(write_noise), counts_(std::move(counts)) {
  if (visible_ && (visible_->shape(0) != weights_.shape(0) || visible_->shape(1) != weights_.shape(1)))
    throw Error(ErrorKind::Shape, "stored and visible weights must have the same shape");
  Place::check(weights_, fields_, visible_, counts_);
  if (reference < -1 || reference >= static_cast<int>(fields_.size()))
    throw Error(ErrorKind::Shape, "reference must be the number of a field, or -1");
  if (counts_ && (counts_->shape(0) != 2 || counts_->shape(1) != weights_.shape(0) || counts_->shape(2) != weights_.shape(1)))
    throw Error(ErrorKind::Shape, "pulse counts must have shape [2, out, in]");
  if (fields_.size() < kBaseFields || fields_.size() > kMaxFields)
    throw Error(ErrorKind::Shape, "a tile has between 7 and 12 arrays of cell parameters");
  for (const Weights& f : fields_) {
    const bool shared = f.shape(0) == 1 && f.shape(1) == 1;
    if (!shared && (f.shape(0) != weights_.shape(0) || f.shape(1) != weights_.shape(1)))
      throw Error(ErrorKind::Shape, "cell parameters must have the shape of the weights, or (1, 1) when all cells share them");
  }
}

Matrix Cells::weights() const {
  const auto rows = static_cast<int64_t>(weights_.shape(0)), cols = static_cast<int64_t>(weights_.shape(1));
  return {weights_.data(), rows, cols, cols};
}

Matrix Cells::visible() const {
  Matrix out = weights();
  out.data = visible_ ? visible_->data() : nullptr;
  return out;
}

CellFields Cells::fields() const {
  CellFields out{};
  const bool one_cell = weights_.shape(0) == 1 && weights_.shape(1) == 1;
  for (size_t i = 0; i < fields_.size(); ++i) {
    const bool shared = fields_[i].shape(0) == 1 && fields_[i].shape(1) == 1 && !one_cell;
    out.field[i] = {fields_[i].data(), shared ? 0 : static_cast<int64_t>(weights_.shape(1))};
  }
  out.reference = reference_;
  return out;
}

CellCounts Cells::counts() const {
  if (!counts_) return {nullptr, nullptr};
  return {counts_->data(), counts_->data() + weights_.size()};
}

ConstMatrix batch_view(const Samples& samples, int64_t width, const char* name) {
  if (static_cast<int64_t>(samples.shape(1)) != width)
    throw Error(ErrorKind::Shape, std::string(name) + " has " + std::to_string(samples.shape(1)) +
                                      " elements per sample but the tile needs " + std::to_string(width));
  if (samples.size() > 0 && samples.shape(1) > 1 && samples.stride(1) != 1)
    throw Error(ErrorKind::Shape, std::string(name) + " must have contiguous samples");
  return {samples.data(), static_cast<int64_t>(samples.shape(0)), width, samples.stride(0)};
}

namespace {

LifecycleArgs lifecycle(const Cells& cells, uint64_t seed, uint32_t step) {
  LifecycleArgs args{};
  args.weights = cells.weights();
  args.cells = cells.fields();
  args.seed = seed;
  args.step = step;
  return args;
}

}  // namespace

void bind_cells(nb::module_& m) {
  nb::class_<Device>(m, "Device", "Kind and parameters of a pulsed device.")
      .def(nb::init<nb::handle>(), nb::arg("dataclass"));
  nb::class_<Cells>(m, "Cells", "Borrowed view of the weights and per-cell parameters of a tile.")
      .def(nb::init<Weights, std::vector<Weights>, int, std::optional<Weights>, float, std::optional<Counts>>(),
           nb::arg("weights").noconvert(), nb::arg("fields").noconvert(), nb::arg("reference") = -1,
           nb::arg("visible").noconvert() = nb::none(), nb::arg("write_noise") = 0.0f,
           nb::arg("counts").noconvert() = nb::none());

  m.def("populate", [](const Device& device, const Cells& cells, uint64_t seed) {
    const Place place(cells);
    const void* params = device.params(place.gpu());
    const nb::gil_scoped_release unlocked;
    const Matrix w = cells.weights();
    populate(device.kind(), {params, w.rows, w.cols, cells.fields(), seed});
  }, nb::arg("device"), nb::arg("cells"), nb::arg("seed"), "Draw the device-to-device variation.");

  m.def("uniform", [](Weights out, float low, float high, uint64_t seed, int stream, uint32_t step) {
    const Place place(out);
    const auto rows = static_cast<int64_t>(out.shape(0)), cols = static_cast<int64_t>(out.shape(1));
    const nb::gil_scoped_release unlocked;
    uniform({{out.data(), rows, cols, cols}, low, high, seed, step, static_cast<Stream>(stream)});
  }, nb::arg("out").noconvert(), nb::arg("low"), nb::arg("high"), nb::arg("seed"), nb::arg("stream"),
     nb::arg("step") = 0, "Fill with uniform numbers in [low, high).");

  m.def("clip", [](const Cells& cells) {
    const Place place(cells);
    const nb::gil_scoped_release unlocked;
    clip(lifecycle(cells, 0, 0));
  }, nb::arg("cells"), "Clip the weights to the bounds of their devices.");

  m.def("decay", [](const Cells& cells, float alpha) {
    const Place place(cells);
    const nb::gil_scoped_release unlocked;
    LifecycleArgs args = lifecycle(cells, 0, 0);
    args.amount = alpha;
    decay(args);
  }, nb::arg("cells"), nb::arg("alpha"), "Let the weights decay towards their reset values.");

  m.def("diffuse", [](const Cells& cells, uint64_t seed, uint32_t step) {
    const Place place(cells);
    const nb::gil_scoped_release unlocked;
    diffuse(lifecycle(cells, seed, step));
  }, nb::arg("cells"), nb::arg("seed"), nb::arg("step"), "Let the weights diffuse.");

  m.def("reset", [](const Cells& cells, int64_t first, int64_t n, float probability, float spread, uint64_t seed, uint32_t step) {
    const Place place(cells);
    const nb::gil_scoped_release unlocked;
    LifecycleArgs args = lifecycle(cells, seed, step);
    args.amount = spread;
    args.probability = probability;
    args.first_column = first;
    args.n_columns = n;
    reset(args);
  }, nb::arg("cells"), nb::arg("first_column"), nb::arg("n_columns"), nb::arg("probability"), nb::arg("spread"),
     nb::arg("seed"), nb::arg("step"), "Reset the devices of a window of columns.");
}

}  // namespace rpu::python
