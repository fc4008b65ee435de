#include "../errors.hpp"
#include "../ops/update.hpp"
#include "bindings.hpp"
#include "from_python.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

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

/// The arguments of an update, whose arrays it keeps alive.
class UpdateArguments {
 public:
  UpdateArguments(const Cells& cells, const Device& device, const UpdateSpec& spec, StridedSamples x, Samples d, double lr,
                  double granularity, uint64_t seed, uint32_t step, uint64_t train_seed, uint32_t train_step,
                  uint32_t first_sample, std::optional<Rates> rates, int drive, double highest_rate,
                  std::optional<Fired> counter)
      : cells_(cells), device_(device), spec_(spec), x_(std::move(x)), d_(std::move(d)), lr_(lr), granularity_(granularity),
        highest_rate_(highest_rate), seed_(seed), train_seed_(train_seed), step_(step), train_step_(train_step),
        first_sample_(first_sample), rates_(std::move(rates)), drive_(drive), counter_(std::move(counter)) {}

  std::vector<DeviceId> places() const {
    std::vector<DeviceId> all{cells_.place(), {x_.device_type(), x_.device_id()}, {d_.device_type(), d_.device_id()}};
    if (rates_) all.push_back({rates_->device_type(), rates_->device_id()});
    if (counter_) all.push_back({counter_->device_type(), counter_->device_id()});
    return all;
  }

  /// As the core takes it; windows are kept in `patches`.
  PulsedUpdate view(const Place& place, std::optional<Windows>& patches) const {
    PulsedUpdate u = update_of(cells_, device_, place, seed_, step_);
    u.parameters = spec_.parameters;
    u.drive = static_cast<Drive>(drive_);
    u.d = batch_view(d_, u.weights.rows, "d");
    if (x_.ndim() == 2) u.x = batch_view(Samples(x_), u.weights.cols, "x");
    else u.x = patches.emplace(windows(x_, u.d.rows, u.weights.cols));
    if (u.x.rows != u.d.rows)
      throw Error(ErrorKind::Shape, "x has " + std::to_string(u.x.rows) + " samples but d has " + std::to_string(u.d.rows));
    u.lr = static_cast<float>(lr_);
    u.granularity = static_cast<float>(granularity_);
    u.train_seed = train_seed_;
    u.train_step = train_step_;
    u.first_sample = first_sample_;
    if (rates_ && static_cast<int64_t>(rates_->shape(0)) != u.x.rows)
      throw Error(ErrorKind::Shape, "rates must have one value per sample");
    u.rates = rates_ ? rates_->data() : nullptr;
    u.highest_rate = static_cast<float>(highest_rate_);
    u.fired = counter_of(counter_);
    return u;
  }

 private:
  const Cells& cells_;
  const Device& device_;
  const UpdateSpec& spec_;
  StridedSamples x_;
  Samples d_;
  double lr_, granularity_, highest_rate_;
  uint64_t seed_, train_seed_;
  uint32_t step_, train_step_, first_sample_;
  std::optional<Rates> rates_;
  int drive_;
  std::optional<Fired> counter_;
};

using Totals = nb::typed<nb::tuple, int64_t, int64_t>;

Totals update(const Cells& cells, const Device& device, const UpdateSpec& spec, const StridedSamples& x, const Samples& d,
              double lr, double granularity, uint64_t seed, uint32_t step, uint64_t train_seed, uint32_t train_step,
              uint32_t first_sample, const std::optional<Rates>& rates, int drive, double highest_rate,
              const std::optional<Fired>& counter) {
  const UpdateArguments arguments(cells, device, spec, x, d, lr, granularity, seed, step, train_seed, train_step, first_sample,
                                  rates, drive, highest_rate, counter);
  const Place place(cells, x, d, rates, counter);
  const FloatEnvironment pinned;  // also so that denormal numbers survive the conversion to float
  std::optional<Windows> patches;
  const PulsedUpdate u = arguments.view(place, patches);
  PulseTotals fired;
  {
    const nb::gil_scoped_release unlocked;
    fired = pulsed_update(u);
  }
  return Totals(nb::make_tuple(fired.up, fired.down));
}

std::vector<std::pair<int64_t, int64_t>> updates(const std::vector<const UpdateArguments*>& all) {
  std::vector<DeviceId> places;
  for (const UpdateArguments* one : all)
    for (const DeviceId& id : one->places()) places.push_back(id);
  const Place place(places);
  const FloatEnvironment pinned;
  std::vector<PulsedUpdate> views;
  std::vector<std::optional<Windows>> patches(all.size());
  for (size_t i = 0; i < all.size(); ++i) views.push_back(all[i]->view(place, patches[i]));
  std::vector<PulseTotals> totals;
  {
    const nb::gil_scoped_release unlocked;
    totals = pulsed_updates(views);
  }
  std::vector<std::pair<int64_t, int64_t>> fired;
  for (const PulseTotals& total : totals) fired.emplace_back(total.up, total.down);
  return fired;
}

Totals fire(const Cells& cells, const Device& device, const PulseNumbers& counts, uint64_t seed, uint32_t step, int32_t most,
            const std::optional<Fired>& counter) {
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
  return Totals(nb::make_tuple(fired.up, fired.down));
}

}  // namespace

void bind_update(nb::module_& m) {
  nb::class_<UpdateSpec>(m, "UpdateSpec", "Update parameters, read once from the dataclass.")
      .def(nb::init<nb::handle>(), nb::arg("dataclass"))
      .def("check_rate", [](const UpdateSpec& spec, double rate, double granularity) {
        check_rate(spec.parameters, static_cast<float>(rate), static_cast<float>(granularity));
      }, nb::arg("rate"), nb::arg("granularity"), "Raise unless trains are long enough for this learning rate.");
  const auto with_arguments = [](auto&& define) {
    define(nb::arg("cells"), nb::arg("device"), nb::arg("spec"), nb::arg("x").noconvert(), nb::arg("d").noconvert(),
           nb::arg("lr"), nb::arg("granularity"), nb::arg("seed"), nb::arg("step"), nb::arg("train_seed"),
           nb::arg("train_step"), nb::arg("first_sample"), nb::arg("rates").noconvert() = nb::none(), nb::arg("drive") = 0,
           nb::arg("highest_rate") = 0.0, nb::arg("counter").noconvert() = nb::none());
  };
  with_arguments([&](const auto&... named) {
    m.def("update", &update, named..., "Pulsed update in place; returns the numbers of up and down pulses.");
  });
  nb::class_<UpdateArguments> arguments(m, "Update", "The arguments of a pulsed update.");
  with_arguments([&](const auto&... named) {
    arguments.def(nb::init<const Cells&, const Device&, const UpdateSpec&, StridedSamples, Samples, double, double, uint64_t,
                           uint32_t, uint64_t, uint32_t, uint32_t, std::optional<Rates>, int, double, std::optional<Fired>>(),
                  nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>(), named...);
  });
  m.def("updates", &updates, nb::arg("updates"),
        "Do updates of arrays that have nothing to do with each other; returns the numbers of up and down pulses of each.");
  m.def("fire", &fire, nb::arg("cells"), nb::arg("device"), nb::arg("counts").noconvert(), nb::arg("seed"), nb::arg("step"),
        nb::arg("most") = -1, nb::arg("counter").noconvert() = nb::none(),
        "Fire given numbers of pulses, positive ones up, `most` or fewer; returns the numbers of up and down pulses.");
}

}  // namespace rpu::python
