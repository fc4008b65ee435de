#include "../errors.hpp"
#include "../ops/compound.hpp"
#include "../ops/io_spec.hpp"
#include "../ops/mvm.hpp"
#include "bindings.hpp"
#include "from_python.hpp"
#include "tensors.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

namespace rpu::python {
namespace {

Matrix matrix_view(const Weights& array) {
  const auto rows = static_cast<int64_t>(array.shape(0)), cols = static_cast<int64_t>(array.shape(1));
  return {array.data(), rows, cols, cols};
}

ConstMatrix read_only(const Matrix& m) { return {m.data, m.rows, m.cols, m.stride}; }

/// Cells times samples, and two for reading the weights, of a product that takes up to some ten microseconds.
constexpr int64_t kShortProduct = 1 << 20;

/// One direction of a tile: its parameters, and a borrowed view of the weights and the constants of the periphery.
class AnalogProduct final : public Reader {
 public:
  AnalogProduct(nb::handle io_parameters, bool backward, Weights weights, std::optional<Vector> running_mean,
                std::optional<Vector> out_noise, std::optional<Vector> nonlinearity,
                std::optional<Vector> voltage_offset, std::optional<Weights> read_asymmetry, int64_t physical_inputs)
      : io_(make_io_spec(from_python<params::IOParameters>(io_parameters), backward)),
        weights_(std::move(weights)),
        running_mean_(std::move(running_mean)),
        out_noise_(std::move(out_noise)),
        nonlinearity_(std::move(nonlinearity)),
        voltage_offset_(std::move(voltage_offset)),
        read_asymmetry_(std::move(read_asymmetry)) {
    Place::check(weights_, running_mean_, out_noise_, nonlinearity_, voltage_offset_, read_asymmetry_);
    if (physical_inputs > 0)
      add_time_slices(io_, from_python<params::IOParametersIRDropT>(io_parameters), physical_inputs);
    const Matrix w = matrix_view(weights_);
    inputs_ = backward ? w.rows : w.cols;
    outputs_ = backward ? w.cols : w.rows;
    require_length(out_noise_, outputs_, io_.out_noise_std > 0.0f, "out_noise");
    require_length(nonlinearity_, outputs_, io_.array.nonlinearity > 0.0f, "nonlinearity");
    require_length(voltage_offset_, outputs_, io_.array.v_offset_std > 0.0f, "voltage_offset");
    if (read_asymmetry_ ? read_asymmetry_->shape(0) != weights_.shape(0) || read_asymmetry_->shape(1) != weights_.shape(1)
                        : io_.array.read_asymmetry > 0.0f)
      throw Error(ErrorKind::Shape, "read_asymmetry must have the shape of the weights");
    const bool averages = io_.noise_management == params::NoiseManagementType::AVERAGE_ABS_MAX;
    require_length(running_mean_, 1, averages, "running_mean");
  }

  void run(const Samples& input, const Weights& output, uint64_t seed, uint32_t step, uint32_t first_sample,
           bool freeze_mean, const std::optional<Weights>& weights) const {
    const Place place(weights_, input, output, weights);
    Mvm call = prepare(output, seed, step, first_sample, freeze_mean, weights);
    call.input = batch_view(input, inputs_, input_name());
    require_rows(call, call.input.rows);
    run_unlocked(call);
  }

  /// The product of a tensor as a new one; null where the tensor is not as `Tensors` wants it.
  nb::object of_tensor(nb::handle input, uint64_t seed, uint32_t step, bool freeze_mean) const {
    const Tensors* tensors = Tensors::of(input);
    if (tensors == nullptr || weights_.device_type() != nb::device::cpu::value) return {};
    const std::optional<TensorView> view = tensors->view(input);
    if (!view || view->width() != inputs_) return {};
    NewTensor result = tensors->made(*view, outputs_);
    Mvm call = call_on({view->data, view->samples, inputs_, inputs_}, {result.data(), view->samples, outputs_, outputs_}, seed, step);
    call.freeze_mean = freeze_mean;
    run_unlocked(call);
    return tensors->finished(std::move(result));
  }

  void run_windows(const StridedSamples& input, int leading, const Weights& output, uint64_t seed, uint32_t step,
                   uint32_t first_sample, bool freeze_mean, const std::optional<Weights>& weights) const {
    const Place place(weights_, input, output, weights);
    if (place.gpu() != nullptr) throw Error(ErrorKind::Device, "windows are read in place on the CPU only; copy them to rows first");
    const Mvm call = prepare(output, seed, step, first_sample, freeze_mean, weights);
    if (leading < 0 || leading > static_cast<int>(input.ndim())) throw Error(ErrorKind::Shape, "windows have fewer axes than that");
    const Windows windows = windows_of(input, leading);
    if (windows.samples() > 0 && windows.elements() != inputs_)
      throw Error(ErrorKind::Shape, std::string("a window of ") + input_name() + " must have " + std::to_string(inputs_) +
                                        " elements, not " + std::to_string(windows.elements()));
    require_rows(call, windows.samples());
    const nb::gil_scoped_release unlocked;
    mvm(call, windows);
  }

  /// Products of arrays that have nothing to do with each other.
  static void run_all(const std::vector<const AnalogProduct*>& products, const std::vector<Samples>& inputs,
                      const std::vector<Weights>& outputs, const std::vector<uint64_t>& seeds,
                      const std::vector<uint32_t>& steps, uint32_t first_sample, bool freeze_mean) {
    const size_t n = products.size();
    if (inputs.size() != n || outputs.size() != n || seeds.size() != n || steps.size() != n)
      throw Error(ErrorKind::Shape, "there must be an input, an output, a seed and a step for each product");
    std::vector<DeviceId> places;
    for (const AnalogProduct* product : products)
      places.push_back({product->weights_.device_type(), product->weights_.device_id()});
    const Place place(places, inputs, outputs);
    std::vector<Mvm> calls;
    for (size_t i = 0; i < n; ++i) {
      const AnalogProduct& product = *products[i];
      calls.push_back(product.prepare(outputs[i], seeds[i], steps[i], first_sample, freeze_mean, std::nullopt));
      calls.back().input = batch_view(inputs[i], product.inputs_, product.input_name());
      product.require_rows(calls.back(), calls.back().input.rows);
    }
    const nb::gil_scoped_release unlocked;
    mvm(calls);
  }

  std::pair<float, float> run_layer(nb::handle x, std::vector<int64_t> shape, bool channels_last, const Kernel& kernel,
                                    nb::handle w, nb::handle scale, int64_t n_scales, float range, nb::handle bias,
                                    const ModifierSpec* modifier, uint64_t seed, uint32_t step, uint32_t first_sample,
                                    bool freeze_mean, nb::handle copy, nb::handle z, nb::handle y) const {
    if (Place(weights_).gpu() != nullptr) throw Error(ErrorKind::Device, "layers are read in one call on the CPU only");
    const Patches patches(std::move(shape), kernel);
    if (patches.elements() != inputs_)
      throw Error(ErrorKind::Shape, "a sample of x must have " + std::to_string(inputs_) + " elements, not " +
                                        std::to_string(patches.elements()));
    const int64_t samples = patches.samples(), size = samples * outputs_, cells = outputs_ * inputs_;
    const Matrix out{floats(z, size, "z"), samples, outputs_, outputs_};
    Mvm call = call_on({}, out, seed, step);
    call.weights.data = read_only_floats(w, cells, "weights");
    call.freeze_mean = freeze_mean;
    call.first_sample = first_sample;
    const Scales scales = scales_of(scale, n_scales, outputs_);
    float* copied = floats(copy, cells, "copy");
    if (copied == nullptr && (modifier != nullptr || scales.data != nullptr))
      throw Error(ErrorKind::Shape, "a copy of the weights is needed where they are modified or scaled");
    const Matrix result{floats(y, size, "y"), samples, outputs_, outputs_};
    const LayerProduct product{call, modifier, copied, patches, read_only_floats(x, patches.numbers(), "x"),
                               channels_last && !patches.are_rows(), range, scales, read_only_floats(bias, outputs_, "bias"),
                               result};
    const bool held = product.x != nullptr && out.data != nullptr && result.data != nullptr;
    if (call.weights.data == nullptr || (samples > 0 && !held))  // what has no elements may have no memory
      throw Error(ErrorKind::Shape, "x, weights, z and y must be given");
    const nb::gil_scoped_release unlocked;
    const LayerMagnitudes found = layer_product(product);
    return {found.input, found.output};
  }

  void read(const ConstMatrix& input, const Matrix& output, uint64_t seed, uint32_t step) const override {
    const nb::gil_scoped_release unlocked;
    mvm(call_on(input, output, seed, step));
  }

  void draw(uint64_t seed) const {
    const Place place(weights_);
    const Matrix w = matrix_view(weights_);
    draw_constants(io_, constants(), w.rows, w.cols, seed);
  }

 private:
  /// Lets other threads of Python run meanwhile, where that is worth the change of threads.
  static void run_unlocked(const Mvm& call) {
    std::optional<nb::gil_scoped_release> unlocked;
    if (accelerator() != nullptr || call.weights.rows * call.weights.cols * (call.input.rows + 2) > kShortProduct) unlocked.emplace();
    mvm(call);
  }

  Mvm call_on(const ConstMatrix& input, const Matrix& output, uint64_t seed, uint32_t step) const {
    float* mean = running_mean_ ? running_mean_->data() : nullptr;
    return {io_, read_only(matrix_view(weights_)), input, output, constants(), mean, false, seed, step, 0};
  }

  MvmConstants constants() const {
    const auto data = [](const auto& array) { return array ? array->data() : nullptr; };
    return {data(out_noise_), data(nonlinearity_), data(voltage_offset_), data(read_asymmetry_)};
  }

  const char* input_name() const { return io_.backward ? "d" : "x"; }

  /// A call without its input.
  Mvm prepare(const Weights& output, uint64_t seed, uint32_t step, uint32_t first_sample, bool freeze_mean,
              const std::optional<Weights>& weights) const {
    if (weights && (weights->shape(0) != weights_.shape(0) || weights->shape(1) != weights_.shape(1)))
      throw Error(ErrorKind::Shape, "the weights of a call must have the shape of those that the product was made with");
    Mvm call = call_on({}, matrix_view(output), seed, step);
    if (weights) call.weights = read_only(matrix_view(*weights));
    call.freeze_mean = freeze_mean;
    call.first_sample = first_sample;
    return call;
  }

  void require_rows(const Mvm& call, int64_t samples) const {
    if (call.output.rows != samples || call.output.cols != outputs_)
      throw Error(ErrorKind::Shape, "the output array must have one row per sample and one column per output");
  }

  static void require_length(const std::optional<Vector>& array, int64_t n, bool needed, const char* name) {
    if (array ? static_cast<int64_t>(array->shape(0)) != n : needed)
      throw Error(ErrorKind::Shape, std::string(name) + " must have " + std::to_string(n) + " values");
  }

  IoSpec io_;
  Weights weights_;
  std::optional<Vector> running_mean_, out_noise_, nonlinearity_, voltage_offset_;
  std::optional<Weights> read_asymmetry_;
  int64_t inputs_, outputs_;
};

/// Products of a tile, in one call for tensors: the way there in Python takes longer than small products.
class TensorProduct {
 public:
  using Steps = nb::typed<nb::dict, nb::str, nb::int_>;
  TensorProduct(const AnalogProduct& product, uint64_t seed, Steps steps, nb::str direction)
      : product_(product), seed_(seed), steps_(std::move(steps)), direction_(std::move(direction)) {}

  /// The product of a given step, or of the one that `steps` names for the direction, which then advances; None where there
  /// is no short cut.
  nb::object operator()(nb::handle input, nb::handle given, bool freeze_mean) const {
    if (!given.is_none()) {
      if (!PyLong_CheckExact(given.ptr())) return nb::none();
      const unsigned long long low_bits = PyLong_AsUnsignedLongLongMask(given.ptr());
      nb::object result = product_.of_tensor(input, seed_, static_cast<uint32_t>(low_bits), freeze_mean);
      return result.is_valid() ? result : nb::none();
    }
    PyObject* step = PyDict_GetItemWithError(steps_.ptr(), direction_.ptr());
    if (step == nullptr) return nb::none();
    const auto at = nb::cast<uint64_t>(nb::handle(step));
    nb::object result = product_.of_tensor(input, seed_, static_cast<uint32_t>(at), freeze_mean);
    if (!result.is_valid()) return nb::none();
    if (PyDict_SetItem(steps_.ptr(), direction_.ptr(), nb::int_(at + 1).ptr()) != 0) throw nb::python_error();
    return result;
  }

 private:
  const AnalogProduct& product_;
  uint64_t seed_;
  nb::dict steps_;
  nb::str direction_;
};

}  // namespace

void bind_mvm(nb::module_& m) {
  nb::class_<Reader>(m, "Reader", "Converters through which an array is read.");
  nb::class_<AnalogProduct, Reader>(m, "AnalogProduct", "Matrix-vector product of a tile in one direction.")
      .def(nb::init<nb::handle, bool, Weights, std::optional<Vector>, std::optional<Vector>, std::optional<Vector>,
                    std::optional<Vector>, std::optional<Weights>, int64_t>(),
           nb::arg("io_parameters"), nb::arg("backward"), nb::arg("weights").noconvert(),
           nb::arg("running_mean").noconvert() = nb::none(), nb::arg("out_noise").noconvert() = nb::none(),
           nb::arg("nonlinearity").noconvert() = nb::none(), nb::arg("voltage_offset").noconvert() = nb::none(),
           nb::arg("read_asymmetry").noconvert() = nb::none(), nb::arg("physical_inputs") = 0)
      .def("draw_constants", &AnalogProduct::draw, nb::arg("seed"),
           "Fill the arrays of constants that are drawn once per tile.")
      .def("__call__", &AnalogProduct::run, nb::arg("input").noconvert(), nb::arg("output").noconvert(),
           nb::arg("seed"), nb::arg("step"), nb::arg("first_sample"), nb::arg("freeze_mean") = false,
           nb::arg("weights").noconvert() = nb::none(),
           "Write the product of every sample of `input` to `output`, with other weights of the same shape if given.")
      .def("windows", &AnalogProduct::run_windows, nb::arg("input").noconvert(), nb::arg("leading"),
           nb::arg("output").noconvert(), nb::arg("seed"), nb::arg("step"), nb::arg("first_sample"),
           nb::arg("freeze_mean") = false, nb::arg("weights").noconvert() = nb::none(),
           "The same for samples that are windows of `input`, whose first `leading` axes count them.")
      .def("layer", &AnalogProduct::run_layer, nb::arg("x"), nb::arg("shape"), nb::arg("channels_last"), nb::arg("kernel"),
           nb::arg("weights"), nb::arg("scale").none(), nb::arg("n_scales"), nb::arg("range"), nb::arg("bias").none(),
           nb::arg("modifier").none(), nb::arg("seed"), nb::arg("step"), nb::arg("first_sample"), nb::arg("freeze_mean"),
           nb::arg("copy").none(), nb::arg("z"), nb::arg("y"),
           "The product between the digital ends of a layer; returns the largest |x|, if it was looked for, and |z|.");

  nb::class_<TensorProduct>(m, "TensorProduct", "Products of a tile in one direction, for tensors.")
      .def(nb::init<const AnalogProduct&, uint64_t, TensorProduct::Steps, nb::str>(), nb::arg("product"), nb::arg("seed"),
           nb::arg("steps"), nb::arg("direction"), nb::keep_alive<1, 2>())
      .def("__call__", &TensorProduct::operator(), nb::arg("input").none(), nb::arg("step").none() = nb::none(),
           nb::arg("freeze_mean") = false,
           "The product of a tensor [..., inputs] as a new one, with the noise of a step or of the next one, which is counted in "
           "`steps`; None, uncounted, unless it is contiguous float32 of this width on the CPU and of the type that was named.");

  m.def("products", &AnalogProduct::run_all, nb::arg("products"), nb::arg("inputs").noconvert(),
        nb::arg("outputs").noconvert(), nb::arg("seeds"), nb::arg("steps"), nb::arg("first_sample"),
        nb::arg("freeze_mean") = false,
        "Write several products, which have nothing to do with each other, to their outputs.");

  m.def("rank_update", [](const Weights& weights, const Samples& x, const Samples& d, float lr) {
    const Place place(weights, x, d);
    const Matrix w = matrix_view(weights);
    const ConstMatrix x_view = batch_view(x, w.cols, "x"), d_view = batch_view(d, w.rows, "d");
    if (x_view.rows != d_view.rows)
      throw Error(ErrorKind::Shape, "x has " + std::to_string(x_view.rows) + " samples but d has " +
                                        std::to_string(d_view.rows));
    const nb::gil_scoped_release unlocked;
    rank_update(w, x_view, d_view, lr);
  }, nb::arg("weights").noconvert(), nb::arg("x").noconvert(), nb::arg("d").noconvert(), nb::arg("lr"),
     "Subtract lr * d^T x from the weights, in place.");
}

}  // namespace rpu::python
