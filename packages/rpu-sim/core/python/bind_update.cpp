#include "../errors.hpp"
#include "../ops/update.hpp"
#include "bindings.hpp"
#include "from_python.hpp"

#include <nanobind/stl/optional.h>

namespace rpu::python {
namespace {

/// A resolution above 1 is a number of steps; 0 or less is off.
float normalised(float resolution) {
  if (resolution <= 0.0f) return 0.0f;
  return resolution > 1.0f ? 1.0f / resolution : resolution;
}

}  // namespace

UpdateSpec::UpdateSpec(nb::handle dataclass) : parameters(from_python<params::UpdateParameters>(dataclass)) {
  parameters.res = normalised(parameters.res);
  parameters.x_res_implicit = normalised(parameters.x_res_implicit);
  parameters.d_res_implicit = normalised(parameters.d_res_implicit);
}

int64_t* counter_of(const std::optional<Fired>& counter) {
  if (counter && counter->shape(0) != 2) throw Error(ErrorKind::Shape, "pulses are counted in two numbers");
  return counter ? counter->data() : nullptr;
}

PulsedUpdate update_of(const Cells& cells, const Device& device, const Place& place, uint64_t seed, uint32_t step) {
  PulsedUpdate u{};
  u.device = device.kind();
  u.device_params = device.params(place.gpu());
  u.weights = cells.weights();
  u.cells = cells.fields();
  u.counts = cells.counts();
  u.visible = cells.visible();
  u.write_noise = cells.write_noise();
  u.seed = seed;
  u.step = step;
  return u;
}

namespace {

using PulseNumbers = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig>;

/// Samples of several axes: the leading ones count as many as `samples`, the others are the elements of a sample.
Windows windows(const StridedSamples& x, int64_t samples, int64_t width) {
  int leading = 0;
  for (int64_t counted = 1; counted < samples && leading < static_cast<int>(x.ndim()); ++leading)
    counted *= static_cast<int64_t>(x.shape(static_cast<size_t>(leading)));
  const Windows view = windows_of(x, leading);
  if (view.samples() != samples || view.elements() != width)
    throw Error(ErrorKind::Shape, "x must have the leading shape of d and " + std::to_string(width) + " elements per sample");
  return view;
}

nb::typed<nb::tuple, int64_t, int64_t> update(const Cells& cells, const Device& device, const UpdateSpec& spec,
                 const StridedSamples& x, const Samples& d, double lr, double granularity, uint64_t seed, uint32_t step,
                 uint64_t train_seed, uint32_t train_step, uint32_t first_sample, const std::optional<Rates>& rates, int drive,
                 double highest_rate, const std::optional<Fired>& counter) {
  const Place place(cells, x, d, rates, counter);
  PulsedUpdate u = update_of(cells, device, place, seed, step);
  u.parameters = spec.parameters;
  u.drive = static_cast<Drive>(drive);
  u.d = batch_view(d, u.weights.rows, "d");
  std::optional<Windows> patches;
  if (x.ndim() == 2) u.x = batch_view(Samples(x), u.weights.cols, "x");
  else u.x = patches.emplace(windows(x, u.d.rows, u.weights.cols));
  if (u.x.rows != u.d.rows)
    throw Error(ErrorKind::Shape, "x has " + std::to_string(u.x.rows) + " samples but d has " + std::to_string(u.d.rows));
  const FloatEnvironment pinned;  // so that denormal numbers survive the conversion to float
  u.lr = static_cast<float>(lr);
  u.granularity = static_cast<float>(granularity);
  u.train_seed = train_seed;
  u.train_step = train_step;
  u.first_sample = first_sample;
  if (rates && static_cast<int64_t>(rates->shape(0)) != u.x.rows)
    throw Error(ErrorKind::Shape, "rates must have one value per sample");
  u.rates = rates ? rates->data() : nullptr;
  u.highest_rate = static_cast<float>(highest_rate);
  u.fired = counter_of(counter);
  PulseTotals fired;
  {
    const nb::gil_scoped_release unlocked;
    fired = pulsed_update(u);
  }
  return nb::typed<nb::tuple, int64_t, int64_t>(nb::make_tuple(fired.up, fired.down));
}

nb::typed<nb::tuple, int64_t, int64_t> fire(const Cells& cells, const Device& device, const PulseNumbers& counts, uint64_t seed,
                                            uint32_t step, int32_t most, const std::optional<Fired>& counter) {
  const Place place(cells, counts, counter);
  PulsedUpdate u = update_of(cells, device, place, seed, step);
  u.fired = counter_of(counter);
  if (static_cast<int64_t>(counts.shape(0)) != u.weights.rows || static_cast<int64_t>(counts.shape(1)) != u.weights.cols)
    throw Error(ErrorKind::Shape, "counts must have the shape of the weights");
  PulseTotals fired;
  {
    const nb::gil_scoped_release unlocked;
    fired = fire_counts(u, counts.data(), most);
  }
  return nb::typed<nb::tuple, int64_t, int64_t>(nb::make_tuple(fired.up, fired.down));
}

}  // namespace

void bind_update(nb::module_& m) {
  nb::class_<UpdateSpec>(m, "UpdateSpec", "Update parameters, read once from the dataclass.")
      .def(nb::init<nb::handle>(), nb::arg("dataclass"))
      .def("check_rate", [](const UpdateSpec& spec, double rate, double granularity) {
        check_rate(spec.parameters, static_cast<float>(rate), static_cast<float>(granularity));
      }, nb::arg("rate"), nb::arg("granularity"), "Raise unless trains are long enough for this learning rate.");
  m.def("update", &update, nb::arg("cells"), nb::arg("device"), nb::arg("spec"), nb::arg("x").noconvert(),
        nb::arg("d").noconvert(), nb::arg("lr"), nb::arg("granularity"), nb::arg("seed"), nb::arg("step"),
        nb::arg("train_seed"), nb::arg("train_step"), nb::arg("first_sample"), nb::arg("rates").noconvert() = nb::none(),
        nb::arg("drive") = 0, nb::arg("highest_rate") = 0.0, nb::arg("counter").noconvert() = nb::none(),
        "Pulsed update in place; returns the numbers of up and down pulses.");
  m.def("fire", &fire, nb::arg("cells"), nb::arg("device"), nb::arg("counts").noconvert(), nb::arg("seed"), nb::arg("step"),
        nb::arg("most") = -1, nb::arg("counter").noconvert() = nb::none(),
        "Fire given numbers of pulses, positive ones up, `most` or fewer; returns the numbers of up and down pulses.");
}

}  // namespace rpu::python
