// Objects shared by the binding files.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <map>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "../kernels.hpp"
#include "../ops/layer_product.hpp"
#include "../ops/transfer.hpp"
#include "../ops/update.hpp"
#include "../ops/windows.hpp"
#include "from_python.hpp"
#include "place.hpp"

namespace rpu::python {

namespace nb = nanobind;

/// A matrix of float32 with contiguous rows; never converted, so that writes reach the caller's array.
using Weights = nb::ndarray<float, nb::ndim<2>, nb::c_contig>;
using Counts = nb::ndarray<int64_t, nb::ndim<3>, nb::c_contig>;
using StridedSamples = nb::ndarray<const float>;
using Samples = nb::ndarray<const float, nb::ndim<2>>;
using Rates = nb::ndarray<const float, nb::ndim<1>, nb::c_contig>;
using Vector = nb::ndarray<float, nb::ndim<1>, nb::c_contig>;

/// The device at each crosspoint: its kind and parameters, read once from the dataclass.
class Device {
 public:
  explicit Device(nb::handle dataclass);
  Device(const Device&) = delete;
  DeviceKind kind() const { return static_cast<DeviceKind>(params_.index() - 1); }
  /// The parameters; lists of numbers in them lie on the GPU, or with null on the host.
  const void* params(const Gpu* gpu) const;

 private:
#define RPU_DEVICE(name, header) , params::name##Device
  using Params = std::variant<std::monostate
#include "../devices.def"
                              >;
#undef RPU_DEVICE
  /// A copy with its lists on a GPU.
  struct OnGpu {
    Params params;
    std::vector<std::unique_ptr<GpuMemory>> lists;
  };

  Params params_;
  ListStorage lists_;
  mutable std::map<const Gpu*, OnGpu> on_gpus_;
};

/// Borrowed view of the weights, per-cell parameters and, if there are any, pulse counts [2, out, in] of a tile; keeps
/// the caller's arrays alive. With write noise, the weights are the stored ones, and `visible` is what the array shows.
class Cells {
 public:
  Cells(Weights weights, std::vector<Weights> fields, int reference, std::optional<Weights> visible, float write_noise,
        std::optional<Counts> counts);
  Matrix weights() const;
  CellFields fields() const;
  CellCounts counts() const;
  Matrix visible() const;
  DeviceId place() const { return {weights_.device_type(), weights_.device_id()}; }
  bool has_write_noise() const { return visible_.has_value(); }
  float write_noise() const { return write_noise_; }

 private:
  Weights weights_;
  std::vector<Weights> fields_;
  int reference_;
  std::optional<Weights> visible_;
  float write_noise_;
  std::optional<Counts> counts_;
};

/// Arguments of a write of all cells; the cells must have write noise.
WriteArgs write_args(const Cells& cells, uint64_t seed, uint32_t step);

/// Update parameters, read once from the dataclass.
struct UpdateSpec {
  explicit UpdateSpec(nb::handle dataclass);
  params::UpdateParameters parameters;
};

/// An update of these cells, without its pulses.
PulsedUpdate update_of(const Cells& cells, const Device& device, const Place& place, uint64_t seed, uint32_t step);

/// Up and down pulses, where a GPU counts them.
using Fired = nb::ndarray<int64_t, nb::ndim<1>, nb::c_contig>;

/// Null without a counter.
int64_t* counter_of(const std::optional<Fired>& counter);

/// The buffer of one transfer with the arrays that it borrows.
class Buffer {
 public:
  Buffer(Weights buffer, Vector out_sign, std::optional<Weights> mean, std::optional<Weights> past, float threshold,
         float most_steps, float kept, bool forgets, bool keeps, float cap, float mean_weight);
  TransferBuffer view() const;
  int64_t slices() const { return static_cast<int64_t>(buffer_.shape(0)); }
  DeviceId place() const { return {buffer_.device_type(), buffer_.device_id()}; }

 private:
  BufferRule rule_;
  Weights buffer_;
  Vector out_sign_;
  std::optional<Weights> mean_, past_;
};

/// View of a batch; throws ShapeError unless it has `width` columns that are contiguous.
ConstMatrix batch_view(const Samples& samples, int64_t width, const char* name);

/// View of windows, whose first `leading` axes count samples.
template <class Array> Windows windows_of(const Array& array, int leading) {
  std::vector<int64_t> shape, strides;
  for (size_t axis = 0; axis < array.ndim(); ++axis) {
    shape.push_back(static_cast<int64_t>(array.shape(axis)));
    strides.push_back(array.stride(axis));
  }
  return Windows(array.data(), static_cast<int>(shape.size()), leading, shape.data(), strides.data());
}

/// float32 memory of a call: a contiguous array with `size` elements, or an address that the caller vouches for, which saves
/// half a microsecond for each tensor of torch; null for None.
float* floats(nb::handle given, int64_t size, const char* name);
const float* read_only_floats(nb::handle given, int64_t size, const char* name);

/// Mapping scales, `n` of them: one for each output, or one, or none.
Scales scales_of(nb::handle given, int64_t n, int64_t outputs);

void bind_cells(nb::module_& m);
void bind_update(nb::module_& m);
void bind_layer(nb::module_& m);
void bind_mvm(nb::module_& m);
void bind_weights(nb::module_& m);
void bind_transfer(nb::module_& m);
void bind_compound(nb::module_& m);
void bind_stored(nb::module_& m);
void bind_windows(nb::module_& m);
void bind_places(nb::module_& m);

}  // namespace rpu::python
