// The matrix-vector product on the device: noise management, DAC, product with noise and ADC while results are in
// registers, and rounds of bound management, which only launch for samples that exceeded their bound in the round
// before.
#include <algorithm>

#include "../physics/output_constants.hpp"
#include "array_passes.hpp"

RPU_BEGIN

constexpr int64_t kPartFloats = int64_t{1} << 22;  // converted inputs at a time

/// Rounds of bound management, at most.
int rounds_of(const IoSpec& io) {
  if (io.bound_management == params::BoundManagementType::NONE) return 1;
  int rounds = 1;
  while (!gives_up(io, bound_round(io, static_cast<uint32_t>(rounds - 1))) && rounds < 64) ++rounds;
  return rounds;
}

struct MvmWorkspace {
  float *abs_max, *alpha, *fill, *scale, *factor, *inputs;
  SignedSums *sums = nullptr, *partial = nullptr;
  int32_t *lists[2], *counts;
  uint32_t* exceeded;
  ArraySetup setup;
  int64_t part, input_stride, output_stride;
  ArrayBuffers buffers;

  MvmWorkspace(Arena& arena, const MvmCall& call)
      : abs_max(arena.take<float>(call.input.rows)),
        alpha(arena.take<float>(call.input.rows)),
        fill(arena.take<float>(call.input.rows)),
        setup(arena, call),
        part(std::min(call.input.rows, part_of(call))),
        input_stride((call.input.cols + 15) / 16 * 16),
        output_stride(groups(call.output.cols) * kGroup),
        buffers(arena, *call.io, part, input_stride, output_stride) {
    scale = arena.take<float>(part);
    factor = arena.take<float>(part);
    inputs = arena.take<float>(part * input_stride);
    for (int32_t*& list : lists) list = arena.take<int32_t>(part);
    counts = arena.take<int32_t>(rounds_of(*call.io) + 1);
    exceeded = arena.take<uint32_t>(part);
    if (!needs_sums(*call.io)) return;
    sums = arena.take<SignedSums>(call.input.rows);
    partial = arena.take<SignedSums>(16 * call.input.rows);
  }

  static bool needs_sums(const IoSpec& io) {
    return io.noise_management == params::NoiseManagementType::ABS_MAX_NP_SUM ||
           io.bound_management == params::BoundManagementType::ITERATIVE_WORST_CASE;
  }
  static int64_t part_of(const MvmCall& call) {
    const int64_t floats = call.io->array.active ? 4 * call.input.cols + 8 * call.output.cols : call.input.cols;
    return std::max<int64_t>(256, kPartFloats / std::max<int64_t>(1, floats) / 256 * 256);
  }
};

class MvmRun {
 public:
  MvmRun(const MvmCall& call, const RpuCall& on)
      : call_(call), io_(*call.io), on_(on), stream_(stream_of(on)), w_(workspace<MvmWorkspace>(on, call)) {}

  void run() {
    row_abs_max(stream_, call_.input, w_.abs_max);
    if (w_.sums != nullptr) {
      over_items(stream_, call_.input.rows * 16, PartialSums{call_.input, w_.partial});
      over_items(stream_, call_.input.rows, TotalSums{w_.partial, w_.sums});
    }
    manage_noise();
    w_.setup.run(call_, stream_);
    for (int64_t first = 0; first < call_.input.rows; first += w_.part)
      run_part(first, std::min(w_.part, call_.input.rows - first));
  }

 private:
  void manage_noise() {
    using Type = params::NoiseManagementType;
    const int64_t n = call_.input.rows;
    if (io_.noise_management == Type::AVERAGE_ABS_MAX) {
      if (call_.freeze_mean) return over_items(stream_, n, FrozenMean{w_.abs_max, call_.running_mean, w_.alpha});
      return in_order(stream_, n, RunningMeans{w_.abs_max, call_.running_mean, w_.alpha});
    }
    if (io_.noise_management == Type::MAX) {
      zero(stream_, w_.alpha, n * 4);
      over_quads(stream_, n, call_.input.cols, RowMax{call_.input, reinterpret_cast<uint32_t*>(w_.alpha)});
    }
    over_items(stream_, n, SampleScale{io_, w_.abs_max, w_.sums, w_.alpha});
  }

  void run_part(int64_t first, int64_t n) {
    const bool zero_rule = io_.noise_management != params::NoiseManagementType::NONE &&
                           (io_.backward || io_.inp_noise <= 0.0f);
    const Matrix output{call_.output.data + first * call_.output.stride, n, call_.output.cols, call_.output.stride};
    const int rounds = rounds_of(io_);
    zero(stream_, w_.counts, (rounds + 1) * 4);
    over_items(stream_, n, CollectSamples{w_.abs_max + first, w_.alpha + first, zero_rule, w_.fill + first, w_.lists[0],
                                          w_.counts, on_.faults});
    over_quads(stream_, n, output.cols, FillOutputs{output, w_.fill + first});
    for (int round = 0; round < rounds; ++round) {
      const Listed listed{w_.lists[round % 2], w_.counts + round};
      compute(listed, round, first, n, output);
      if (round + 1 < rounds)
        over_items(stream_, n, KeepExceeded{listed, w_.exceeded, w_.lists[(round + 1) % 2], w_.counts + round + 1});
    }
  }

  void compute(const Listed& listed, int round, int64_t first, int64_t n, const Matrix& output) {
    const BoundRound of_round = bound_round(io_, static_cast<uint32_t>(round));
    const SignedSums* sums = w_.sums == nullptr ? nullptr : w_.sums + first;
    over_items(stream_, n, ScaleSamples{io_, listed, of_round, w_.abs_max + first, w_.alpha + first, sums, w_.scale,
                                        w_.factor, w_.exceeded});
    const MvmDraws draws{call_.seed, call_.step, call_.first_sample + static_cast<uint32_t>(first),
                         static_cast<uint32_t>(round), 0};
    const ConstMatrix input{call_.input.data + first * call_.input.stride, n, call_.input.cols, call_.input.stride};
    const ConvertInputs dac{io_, listed, input, w_.scale, w_.inputs, w_.input_stride, draws, {}};
    const ConvertOutputs adc{io_, listed, call_.constants.out_noise, w_.factor, output, w_.exceeded, draws};
    if (io_.array.active) return ArrayPasses(call_, w_.setup, w_.buffers, stream_).run(dac, adc, n, w_.output_stride);
    over_samples(stream_, n, input.cols, dac);
    const Factor weights{call_.weights.data, call_.weights.stride, !io_.backward, false};
    multiply(stream_, {w_.inputs, w_.input_stride, false, false}, weights, n, listed.count, output.cols, input.cols, adc);
  }

  const MvmCall& call_;
  const IoSpec& io_;
  const RpuCall& on_;
  Stream_t stream_;
  MvmWorkspace w_;
};

// -- constants ------------------------------------------------------------------------------------------------------

/// A constant of each output, or of each weight.
struct DrawConstants {
  IoSpec io;
  uint32_t kind;
  Key key;
  int64_t cols;
  float* out;

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    F xi[4];
    quad.normals(0, 0, constants_stream(io), kind, key, xi);
    for (int k = 0; k < 4; ++k) store(out + row * cols + quad.column(k), law(xi[k]), cols - quad.column(k));
  }

 private:
  RPU_FN F law(F xi) const {
    if (kind == kDrawOutNoise) return drawn_out_noise(io, xi);
    if (kind == kDrawNonlinearity) return drawn_nonlinearity(io.array, xi);
    if (kind == kDrawVoltageOffset) return drawn_voltage_offset(io.array, xi);
    return drawn_read_asymmetry(io.array, xi);
  }
};

RPU_END

namespace rpu::RPU_LEVEL {

void run_mvm(const MvmCall& call, const RpuCall& on) {
  if (call.input.rows > 0 && call.output.cols > 0) MvmRun(call, on).run();
}

void run_rank_update(const RankUpdateCall& call, const RpuCall& on) {
  if (call.x.rows == 0) return;
  const auto batch = workspace<SoundBatch>(on, call.x, call.d);
  batch.copy(on, call.x, call.d, -call.lr);
  multiply(stream_of(on), {batch.d, call.d.cols, true, false}, {batch.x, call.x.cols, false, false}, call.weights.rows,
           nullptr, call.weights.cols, call.x.rows, AddProduct{call.weights});
}

void run_constants(const ConstantsArgs& args, const RpuCall& on) {
  const auto draw = [&](float* out, uint32_t kind, int64_t rows, int64_t cols) {
    if (out != nullptr) over_quads(stream_of(on), rows, cols, DrawConstants{*args.io, kind, make_key(args.seed), cols, out});
  };
  draw(args.out.out_noise, kDrawOutNoise, 1, args.outputs);
  draw(args.out.nonlinearity, kDrawNonlinearity, 1, args.outputs);
  draw(args.out.voltage_offset, kDrawVoltageOffset, 1, args.outputs);
  draw(args.out.read_asymmetry, kDrawReadAsymmetry, args.rows, args.cols);
}

}  // namespace rpu::RPU_LEVEL
