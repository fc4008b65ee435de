// The digital ends of a layer's product and its gradients. Compiled once per instruction-set level.
#include "../kernels_layer.hpp"
#include "../physics/dac.hpp"
#include "../physics/input_range.hpp"
#include "gemm.hpp"
#include "sum16.hpp"

RPU_BEGIN

/// The largest magnitude of some packs; as integers, magnitudes are ordered like floats, with infinity and NaN on top.
struct LargestMagnitude {
  I most{};

  RPU_FN void see(F v) {
    const I magnitude = as_i(f_to_bits(abs_(v)));
    most = select(magnitude > most, magnitude, most);
  }
  RPU_FN float value() const {
    uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits = get(as_u(most), i) > bits ? get(as_u(most), i) : bits;
    float result;
    __builtin_memcpy(&result, &bits, 4);
    return result;
  }
};

/// Calls body(line, offset of its first element, distance to the next one, length) for each line.
template <class Body> RPU_FN void for_each_line(const Lines& lines, Range range, Body&& body) {
  for (int64_t line = range.begin; line < range.end; ++line) {
    const int64_t image = line / lines.group, within = line % lines.group;
    body(line, image * lines.group * lines.length + within, lines.group, lines.length);
  }
}

/// Elements 0 .. n of p, `distance` apart; those beyond are 0.
RPU_FN F load_apart(const float* p, int64_t distance, int64_t n) {
  if (distance == 1) return load(p, n);
  const I last = I{} + static_cast<int32_t>((n < kLanes ? n : kLanes) - 1), lane = as_i(lane_index());
  const F v = gather(p, select(lane < last, lane, last) * static_cast<int32_t>(distance));
  return select(first_lanes(n), v, F{});
}

RPU_FN F formed(const InputArgs& args, F v) {
  if (args.range <= 0.0f) return v;
  switch (args.form) {
    case InputForm::kUnits: return in_units(v, args.range);
    case InputForm::kHeld: return held(v, args.range);
    case InputForm::kInside: return inside(v, v, args.range);
  }
  return v;
}

float inputs(const InputArgs& args, Range range) {
  LargestMagnitude largest;
  for_each_line(args.lines, range, [&](int64_t line, int64_t from, int64_t distance, int64_t length) {
    float* out = args.out + line * args.out_stride;
    for (int64_t i = 0; i < length; i += kLanes) {
      F v = load_apart(args.x + from + i * distance, distance, length - i);
      largest.see(v);
      v = formed(args, v);
      if (args.dac != nullptr) v = Dac(*args.dac, CodeBits{}).element(v, args.dac_scale, F{}, F{});
      store(out + i, v, length - i);
    }
  });
  return largest.value();
}

float outputs(const OutputArgs& args, Range rows) {
  LargestMagnitude largest;
  const int64_t n = args.z.cols;
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for (int64_t col = 0; col < n; col += kLanes) {
      const F z = load(args.z.data + row * args.z.stride + col, n - col);
      const F gain = args.gain != nullptr ? load(args.gain + col, n - col) : broadcast(1.0f);
      largest.see(z);
      const F y = args.bias != nullptr ? digital_output(z, gain, load(args.bias + col, n - col)) : z * gain;
      store(args.y.data + row * args.y.stride + col, y, n - col);
    }
  return largest.value();
}

void errors(const ErrorArgs& args, Range rows, float* sums) {
  const int64_t n = args.d.cols;
  for (int64_t col = 0; col < n; col += kLanes) {
    F plain{}, weighted{};
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const F d = load(args.d.data + row * args.d.stride + col, n - col);
      plain = plain + d;
      if (args.z == nullptr) continue;
      const F z = load(args.z + row * n + col, n - col);
      weighted = fma_(d, z, weighted);
      if (args.passed != nullptr)
        store(args.passed + row * n + col, args.bound > 0.0f ? inside(z, d, args.bound) : d, n - col);
    }
    store(sums + col, plain, n - col);
    store(sums + n + col, weighted, n - col);
  }
}

void divide_rows(const ConstMatrix& w, const float* scale, bool one_scale, float* out, Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for (int64_t col = 0; col < w.cols; col += kLanes)
      store(out + row * w.cols + col, load(w.data + row * w.stride + col, w.cols - col) / scale[one_scale ? 0 : row],
            w.cols - col);
}

void multiply(const MultiplyArgs& args, Range columns, float* scratch) {
  const Operand b{args.b, args.b_stride, args.b_transposed, false};
  multiply_block(args.a, args.a_stride, args.rows, b, args.depth, columns.begin, columns.end, args.c, args.c_stride, scratch);
}

double inside_lines(const InsideArgs& args, Range range) {
  double total = 0.0;
  for_each_line(args.lines, range, [&](int64_t line, int64_t to, int64_t distance, int64_t length) {
    const float* of_line = args.gradient + line * args.gradient_stride;
    F sums[16 / kLanes] = {};
    for (int64_t i = 0; i < length; i += 16)
      for (int part = 0; part < 16 / kLanes; ++part) {
        const int64_t at = i + part * kLanes, left = length - at;
        if (left <= 0) break;
        F x = load_apart(args.x + to + at * distance, distance, left);
        F gradient = load(of_line + at, left);
        if (args.range > 0.0f) gradient = inside(x, gradient, args.range), x = held(x, args.range);
        sums[part] = fma_(gradient, x, sums[part]);
        if (distance == 1) store(args.out + to + at, gradient, left);
        else
          for (int64_t lane = 0; lane < kLanes && lane < left; ++lane)
            args.out[to + (at + lane) * distance] = get(gradient, static_cast<int>(lane));
      }
    total += sum16(sums);
  });
  return total;
}

/// to[i] += from[i] in whole blocks: what a masked or partial store leaves cannot be loaded again before it is in the cache.
template <int kBlockSize> RPU_FN void add_blocks(const float*& from, float*& to, int64_t& left) {
  typedef float Block __attribute__((vector_size(4 * kBlockSize)));
  for (; left >= kBlockSize; left -= kBlockSize, from += kBlockSize, to += kBlockSize) {
    Block a, b;
    __builtin_memcpy(&a, to, sizeof a);
    __builtin_memcpy(&b, from, sizeof b);
    a = a + b;
    __builtin_memcpy(to, &a, sizeof a);
  }
}

RPU_FN void add_run(const float* from, float* to, int64_t n) {
  add_blocks<8>(from, to, n);
  add_blocks<4>(from, to, n);
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

void add_patches(const AddPatchesArgs& args) {
  for (int64_t channel = 0; channel < args.channels; ++channel)
    for (int64_t tap = 0; tap < args.taps; ++tap)
      for (int64_t line = 0; line < args.lines; ++line) {
        const float* from = args.c + (channel * args.taps + tap) * args.c_stride + line * args.width;
        float* to = args.images + channel * args.pixels + args.line_offset[line] + args.tap_offset[tap];
        if (args.step == 1) add_run(from, to, args.width);
        else
          for (int64_t i = 0; i < args.width; ++i) to[i * args.step] += from[i];
      }
}

void add(const float* values, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kLanes) store(out + i, load(out + i, n - i) + load(values + i, n - i), n - i);
}

void row_dots(const ConstMatrix& a, const float* b, Range rows, double* sums) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    F parts[16 / kLanes] = {};
    for (int64_t col = 0; col < a.cols; col += 16)
      for (int part = 0; part < 16 / kLanes; ++part) {
        const int64_t at = col + part * kLanes;
        parts[part] = fma_(load(a.data + row * a.stride + at, a.cols - at), load(b + row * a.cols + at, a.cols - at), parts[part]);
      }
    sums[row] = sum16(parts);
  }
}

RPU_END

namespace rpu::RPU_LEVEL {

void register_layer(LayerKernels& table) {
  table.inputs = inputs;
  table.outputs = outputs;
  table.errors = errors;
  table.divide_rows = divide_rows;
  table.multiply = multiply;
  table.inside = inside_lines;
  table.add_patches = add_patches;
  table.add = add;
  table.row_dots = row_dots;
}

}  // namespace rpu::RPU_LEVEL
