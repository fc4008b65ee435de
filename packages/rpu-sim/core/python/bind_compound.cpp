#include "../cpu/float_environment.hpp"
#include "../errors.hpp"
#include "../ops/compound.hpp"
#include "bindings.hpp"
#include "from_python.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

namespace rpu::python {
namespace {

using Integers = nb::ndarray<int64_t, nb::ndim<1>, nb::c_contig>;

/// Names of attributes, made once: they are looked up at every step.
struct Names {
  nb::str cells = interned("cells"), core_device = interned("core_device"), granularity = interned("granularity"),
          key = interned("key"), pulses = interned("_pulses"), fired = interned("_fired"), spec = interned("spec"), steps = interned("steps"),
          update = interned("update");

  static nb::str interned(const char* name) { return nb::steal<nb::str>(PyUnicode_InternFromString(name)); }
};

const Names& names() {
  static const Names* all = new Names;  // never freed: it may outlive the interpreter
  return *all;
}

/// Adds to an integer that Python counts in.
template <class Item> void add(Item&& item, int64_t n) { item = nb::cast<int64_t>(item) + n; }

PulseRule rule_of(nb::handle rule) {
  return {&nb::cast<const UpdateSpec&>(rule.attr(names().spec)).parameters, rule.ptr()};
}

bool is_pulsed(const PulseRule& rule) {
  using params::PulseType;
  const PulseType type = rule.parameters->pulse_type;
  return type != PulseType::NONE && type != PulseType::NONE_WITH_DEVICE && type != PulseType::MEAN_FIELD;
}

/// A view of numbers on the host for Python, valid during a call.
nb::object borrowed(const ConstMatrix& m) {
  const size_t shape[2] = {static_cast<size_t>(m.rows), static_cast<size_t>(m.cols)};
  const int64_t strides[2] = {m.stride, 1};
  return nb::cast(nb::ndarray<nb::numpy, const float, nb::ndim<2>>(m.data, 2, shape, {}, strides), nb::rv_policy::reference);
}

/// Cells of rpu_sim.unit_cells.protocol as an array of a compound. Pulses of a DeviceArray need nothing of Python but its
/// counters; what else there is updates itself.
class PythonCells final : public CellArray {
 public:
  PythonCells(nb::object cells, bool is_array) : cells_(std::move(cells)), is_array_(is_array) {}

  void update(const Pulses& p) override {
    if (is_array_ && is_pulsed(p.rule)) update_array(p);
    else update_cells(p);
  }

  void check_rate(const PulseRule& rule, double lr, double granularity) override {
    cells_.attr("check_rate")(origin(rule), lr, granularity);
  }

  void reset_column(int64_t column, double probability) override { cells_.attr("reset")(column, 1, probability); }

 private:
  static nb::handle origin(const PulseRule& rule) { return static_cast<PyObject*>(const_cast<void*>(rule.origin)); }

  void update_array(const Pulses& p) const {
    const Names& name = names();
    const auto& cells = nb::cast<const Cells&>(cells_.attr(name.cells));
    const auto& device = nb::cast<const Device&>(cells_.attr(name.core_device));
    const nb::object steps = cells_.attr(name.steps), pulses = cells_.attr(name.pulses);
    const auto step = nb::cast<int64_t>(steps[name.update]);
    const Place place(cells);
    PulsedUpdate u = update_of(cells, device, place, nb::cast<uint64_t>(cells_.attr(name.key)), static_cast<uint32_t>(step));
    u.parameters = *p.rule.parameters;
    u.x = p.x, u.d = p.d;
    u.fired = counter_of(nb::cast<std::optional<Fired>>(cells_.attr(name.fired), false));
    std::optional<GpuMemory> rates;
    u.rates = p.rates;
    if (place.gpu() != nullptr && p.rates != nullptr) move_rates(*place.gpu(), p, rates, u);
    u.lr = static_cast<float>(p.lr);
    u.granularity = static_cast<float>(p.granularity > 0.0 ? p.granularity : nb::cast<double>(cells_.attr(name.granularity)));
    u.train_seed = p.train_seed, u.train_step = p.train_step, u.first_sample = p.first_sample;
    PulseTotals fired;
    {
      const nb::gil_scoped_release unlocked;
      fired = pulsed_update(u);
    }
    add(pulses[0], fired.up), add(pulses[1], fired.down);
    steps[name.update] = step + 1;
  }

  static void move_rates(const Gpu& gpu, const Pulses& p, std::optional<GpuMemory>& memory, PulsedUpdate& u) {
    void* stream = stream_of(gpu);
    const auto bytes = static_cast<uint64_t>(p.x.rows) * sizeof(float);
    memory.emplace(gpu, bytes, stream, false);
    check_status(*gpu.plugin, gpu.plugin->queue_copy(gpu.index, memory->at(), p.rates, bytes, stream));
    u.rates = static_cast<const float*>(memory->at());
    u.highest_rate = *std::max_element(p.rates, p.rates + p.x.rows);
  }

  /// Samples for Python, valid during a call.
  nb::object samples(const ConstMatrix& m) const {
    if (resident() == nullptr) return borrowed(m);
    return cells_.attr("space").attr("borrowed")(reinterpret_cast<uintptr_t>(m.data), m.rows, m.cols);
  }

  void update_cells(const Pulses& p) const {
    const nb::object trains =
        nb::module_::import_("rpu_sim.device_array").attr("Trains")(p.train_seed, p.train_step, p.first_sample);
    nb::object granularity = nb::none(), rates = nb::none();
    if (p.granularity > 0.0) granularity = nb::float_(p.granularity);
    if (p.rates != nullptr) rates = borrowed({p.rates, 1, p.x.rows, p.x.rows})[0];
    cells_.attr("update")(origin(p.rule), samples(p.x), samples(p.d), p.lr, trains, nb::arg("granularity") = granularity,
                          nb::arg("rates") = rates);
  }

  nb::object cells_;
  bool is_array_;
};

using Held = nb::typed<nb::dict, nb::str, nb::any>;

template <class Array> Array named(const Held& held, const char* name) { return nb::cast<Array>(held[name], false); }

TransferState state_of(const Held& held) {
  const auto floats = [&](const char* name) { return held.contains(name) ? named<Vector>(held, name).data() : nullptr; };
  const auto integers = [&](const char* name) { return held.contains(name) ? named<Integers>(held, name).data() : nullptr; };
  return {integers("counters"), floats("in_chopper"), floats("out_chopper"), integers("switched")};
}

TransferRule transfer_rule(nb::handle fields) {
  TransferRule rule{};
  rule.for_each_field(FieldReader{fields, nullptr});
  return rule;
}

/// A transfer edge on arrays of Python, which must live as long: `held` and everything else that is kept alive.
struct Edge {
  Edge(nb::handle fields, const Held& held, const Buffer* buffer, const Reader& reader, PythonCells& source,
       PythonCells& target, nb::handle write_rule, nb::handle step_rule, int64_t slices, int64_t length)
      : edge(transfer_rule(fields), state_of(held), buffer == nullptr ? TransferBuffer{} : buffer->view(), reader, source, target,
             rule_of(write_rule), rule_of(step_rule), slices, length) {}
  TransferEdge edge;
};

using Edges = nb::typed<nb::list, Edge>;

class PythonCompound {
 public:
  PythonCompound(PythonCells& fast, const Edges& edges, Integers counters, std::optional<Vector> maxima, double momentum)
      : compound_(fast, edges_of(edges), counters.data(), {maxima ? maxima->data() : nullptr, momentum}) {}

  void step(nb::handle rule, const Samples& x, const Samples& d, double lr, double fast_rate, uint64_t train_seed,
            uint64_t train_step, uint64_t first_sample, double granularity, const std::optional<Rates>& rates,
            const std::vector<int64_t>& periods) {
    const Place place(x, d);
    const FloatEnvironment pinned;
    const ConstMatrix inputs = batch_view(x, static_cast<int64_t>(x.shape(1)), "x"),
                      errors = batch_view(d, static_cast<int64_t>(d.shape(1)), "d");
    compound_.step({{rule_of(rule), inputs, errors, rates ? rates->data() : nullptr, fast_rate, granularity, train_seed,
                     static_cast<uint32_t>(train_step), static_cast<uint32_t>(first_sample)}, lr, periods.data()});
  }

 private:
  static std::vector<TransferEdge*> edges_of(const Edges& edges) {
    std::vector<TransferEdge*> found;
    for (nb::handle e : edges) found.push_back(&nb::cast<Edge&>(e).edge);
    return found;
  }
  Compound compound_;
};

}  // namespace

void bind_compound(nb::module_& m) {
  nb::class_<PythonCells>(m, "CellArray", "Cells as an array of a compound.")
      .def(nb::init<nb::object, bool>(), nb::arg("cells"), nb::arg("is_array"));
  nb::class_<Edge>(m, "TransferEdge", "The transfer between two arrays.")
      .def(nb::init<nb::handle, const Held&, const Buffer*, const Reader&, PythonCells&, PythonCells&, nb::handle, nb::handle,
                    int64_t, int64_t>(),
           nb::arg("rule"), nb::arg("held"), nb::arg("buffer").none(), nb::arg("reader"), nb::arg("source"), nb::arg("target"),
           nb::arg("write_rule"), nb::arg("step_rule"), nb::arg("slices"), nb::arg("length"), nb::keep_alive<1, 3>(),
           nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>(), nb::keep_alive<1, 6>(), nb::keep_alive<1, 7>(), nb::keep_alive<1, 8>(),
           nb::keep_alive<1, 9>())
      .def("set_key", [](Edge& e, uint64_t key) { e.edge.set_key(key); }, nb::arg("key"), "Take another key.");
  nb::class_<PythonCompound>(m, "Compound", "The step of a compound: pulses of its fast array, and transfers.")
      .def(nb::init<PythonCells&, const Edges&, Integers, std::optional<Vector>, double>(), nb::arg("fast"), nb::arg("edges"),
           nb::arg("counters").noconvert(), nb::arg("maxima").noconvert(), nb::arg("momentum"), nb::keep_alive<1, 2>(),
           nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>())
      .def("step", &PythonCompound::step, nb::arg("rule"), nb::arg("x").noconvert(), nb::arg("d").noconvert(), nb::arg("lr"),
           nb::arg("fast_rate"), nb::arg("train_seed"), nb::arg("train_step"), nb::arg("first_sample"), nb::arg("granularity"),
           nb::arg("rates").noconvert().none(), nb::arg("periods"), "One update call.");
}

}  // namespace rpu::python
