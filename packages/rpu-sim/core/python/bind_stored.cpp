#include "../errors.hpp"
#include "../ops/stored.hpp"
#include "bindings.hpp"
#include "from_python.hpp"

namespace rpu::python {

WriteArgs write_args(const Cells& cells, uint64_t seed, uint32_t step) {
  const Matrix stored = cells.weights();
  WriteArgs args{};
  args.stored = {stored.data, stored.rows, stored.cols, stored.stride};
  args.visible = cells.visible();
  args.sigma = cells.write_noise();
  args.seed = seed;
  args.step = step;
  return args;
}

namespace {

/// Drift of the cells of a tile: its parameters and borrowed views of what the cells remember.
class DriftState {
 public:
  DriftState(nb::handle dataclass, Weights nu, Weights age, Weights start, Weights seen)
      : params_(from_python<params::DriftParameter>(dataclass)), nu_(nu), age_(age), start_(start), seen_(seen) {
    Place::check(nu_, age_, start_, seen_);
  }

  DeviceId place() const { return {age_.device_type(), age_.device_id()}; }

  DriftArgs args(const Cells& cells) const {
    DriftArgs out{};
    out.weights = cells.weights();
    for (const Weights& m : {age_, start_, seen_})
      if (static_cast<int64_t>(m.shape(0)) != out.weights.rows || static_cast<int64_t>(m.shape(1)) != out.weights.cols)
        throw Error(ErrorKind::Shape, "the arrays of the drift must have the shape of the weights");
    const bool shared = nu_.shape(0) == 1 && nu_.shape(1) == 1;
    if (!shared && (static_cast<int64_t>(nu_.shape(0)) != out.weights.rows ||
                    static_cast<int64_t>(nu_.shape(1)) != out.weights.cols))
      throw Error(ErrorKind::Shape, "drift exponents must have the shape of the weights, or (1, 1)");
    out.cells = cells.fields();
    out.params = &params_;
    out.nu = {nu_.data(), shared ? 0 : out.weights.cols};
    out.age = age_.data();
    out.start = start_.data();
    out.seen = seen_.data();
    return out;
  }

 private:
  params::DriftParameter params_;
  Weights nu_, age_, start_, seen_;
};

}  // namespace

void bind_stored(nb::module_& m) {
  m.def("write", [](const Cells& cells, uint64_t seed, uint32_t step) {
    const Place place(cells);
    const nb::gil_scoped_release unlocked;
    write(write_args(cells, seed, step));
  }, nb::arg("cells"), nb::arg("seed"), nb::arg("step"), "Show every stored weight with fresh write noise.");

  nb::class_<DriftState>(m, "Drift", "Parameters of the drift, and borrowed views of what the cells remember.")
      .def(nb::init<nb::handle, Weights, Weights, Weights, Weights>(), nb::arg("dataclass"), nb::arg("nu").noconvert(),
           nb::arg("age").noconvert(), nb::arg("start").noconvert(), nb::arg("seen").noconvert());

  m.def("drift", [](const Cells& cells, const DriftState& state, float duration, uint64_t seed, uint32_t step) {
    const Place place(cells, state);
    DriftArgs args = state.args(cells);
    args.duration = duration;
    args.seed = seed;
    args.step = step;
    const nb::gil_scoped_release unlocked;
    drift(args);
  }, nb::arg("cells"), nb::arg("state"), nb::arg("duration"), nb::arg("seed"), nb::arg("step"),
     "Let the stored weights drift for a duration in units of t_0.");

  m.def("follow_drift", [](const Cells& cells, const DriftState& state, const Weights& before) {
    const Place place(cells, state, before);
    DriftArgs args = state.args(cells);
    if (before.shape(0) != static_cast<size_t>(args.weights.rows) || before.shape(1) != static_cast<size_t>(args.weights.cols))
      throw Error(ErrorKind::Shape, "the weights before the change must have the shape of the weights");
    args.before = before.data();
    const nb::gil_scoped_release unlocked;
    follow_drift(args);
  }, nb::arg("cells"), nb::arg("state"), nb::arg("before").noconvert(),
     "Take over a change of the stored weights that is no write.");

  m.def("draw_drift_exponents", [](const Cells& cells, const DriftState& state, uint64_t seed) {
    const Place place(cells, state);
    DriftArgs args = state.args(cells);
    args.seed = seed;
    if (args.nu.stride == 0 && args.weights.rows * args.weights.cols > 1)
      throw Error(ErrorKind::Shape, "exponents that differ between cells need an array of the shape of the weights");
    args.nu.stride = args.weights.cols;
    const nb::gil_scoped_release unlocked;
    draw_drift_exponents(args);
  }, nb::arg("cells"), nb::arg("state"), nb::arg("seed"), "Draw the drift exponent of every cell.");
}

}  // namespace rpu::python
