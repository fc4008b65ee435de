#include "compound.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "../cpu/dispatch.hpp"
#include "../errors.hpp"
#include "cells.hpp"

namespace rpu {
namespace {

constexpr double kLargest = 3e38;  // LARGEST of rpu_sim.config.base

/// Changes a matrix of a GPU in place: times a factor and factors of its columns, or within +- limit.
void change(const Accelerator& where, const Matrix& m, float factor, const float* columns, float limit) {
  const CombineCall call{m, {m.data, m.rows, m.cols, m.stride}, factor, false, nullptr, columns, limit};
  run_on(where, Operation::combine, &call);
}

ConstMatrix part(const ConstMatrix& m, Range rows) {
  return {m.data + rows.begin * m.stride, rows.end - rows.begin, m.cols, m.stride};
}

/// The largest |value| of each sample; throws unless they are finite.
std::vector<float> largest_of(const ConstMatrix& values, const char* name) {
  std::vector<float> largest(static_cast<size_t>(values.rows));
  if (const Accelerator* where = resident()) {
    Scratch found;
    const LargestCall call{values, found.sized(values.rows)};
    run_on(*where, Operation::largest, &call);
    const auto bytes = static_cast<uint64_t>(values.rows) * sizeof(float);
    check_status(*where->plugin, where->plugin->copy(where->call.device, largest.data(), call.largest, bytes, where->call.stream));
  } else kernels().update.row_abs_max(values, {0, values.rows}, largest.data());
  for (float v : largest)
    if (!std::isfinite(v))
      throw Error(ErrorKind::NonFinite, std::string(name) + " contains NaN or infinity; the weights were left unchanged");
  return largest;
}

/// A running maximum after a new value; zeros leave it alone.
double followed(double running, double value, double decay) {
  if (running <= 0.0) return value;
  return value > 0.0 ? (1.0 - decay) * running + decay * value : running;
}

}  // namespace

// -- transfers --------------------------------------------------------------------------------------------------------

TransferEdge::TransferEdge(const TransferRule& rule, const TransferState& state, const TransferBuffer& buffer,
                           const Reader& reader, CellArray& source, CellArray& target, PulseRule write_rule,
                           PulseRule step_rule, int64_t slices, int64_t length)
    : rule_(rule), state_(state), buffer_(buffer), reader_(reader), source_(source), target_(target),
      write_rule_(write_rule), step_rule_(step_rule), slices_(slices), length_(length),
      one_hot_(static_cast<size_t>(slices), 0.0f), draws_(static_cast<size_t>(std::max<int64_t>(length, 1))),
      flips_(static_cast<size_t>(std::max(slices, length)), 1.0f) {}

/// Rows of `values` times the signs of their columns, which are on the host, as a copy.
ConstMatrix TransferEdge::with_signs(const ConstMatrix& values, const float* signs, Scratch& out) {
  float* copy = out.sized(values.rows * values.cols);
  if (const Accelerator* where = resident()) {
    const float* columns = signs_.filled(signs, values.cols);
    const CombineCall call{{copy, values.rows, values.cols, values.cols}, values, 1.0f, false, nullptr, columns, 0.0f};
    run_on(*where, Operation::combine, &call);
  } else {
    for (int64_t i = 0; i < values.rows; ++i) {
      const float* from = values.data + i * values.stride;
      float* to = copy + i * values.cols;
      for (int64_t j = 0; j < values.cols; ++j) to[j] = from[j] * signs[j];
    }
  }
  return {copy, values.rows, values.cols, values.cols};
}

void TransferEdge::chop(ConstMatrix& x, ConstMatrix& d) {
  samples_ = x.rows;
  x = with_signs(x, rule_.columns ? state_.in_chopper : state_.out_chopper, rule_.columns ? along_ : across_);
  d = with_signs(d, rule_.columns ? state_.out_chopper : state_.in_chopper, rule_.columns ? across_ : along_);
}

void TransferEdge::transfer(double lr, double fast_rate, int64_t period, int64_t done) {
  const double rate = rule_.scales_rate ? rule_.rate * std::fabs(lr) : rule_.rate;
  if (rate == 0.0) return;
  int64_t start = counter(TransferState::kSlice);
  if (rule_.random_selection) {
    const float drawn = uniform(Stream::TRANSFER_SLICE, 1)[0] * static_cast<float>(slices_);
    start = std::min(static_cast<int64_t>(drawn), slices_ - 1);
  }
  for (int64_t i = 0; i < rule_.reads; ++i) {
    const int64_t at = (start + i) % slices_;
    std::fill(one_hot_.begin(), one_hot_.end(), 0.0f);
    one_hot_[static_cast<size_t>(at)] = 1.0f;
    hot_ = slice_.filled(one_hot_.data(), slices_);
    transfer_slice(at, rate, fast_rate, period);
    if (rule_.chopped) switch_signs(at, done);
    ++counter(TransferState::kCall);
  }
  counter(TransferState::kSlice) = (start + rule_.reads) % slices_;
}

void TransferEdge::transfer_slice(int64_t at, double rate, double fast_rate, int64_t period) {
  const auto step = static_cast<uint32_t>(counter(TransferState::kCall));
  float* read = read_.sized(length_);
  reader_.read({hot_, 1, slices_, slices_}, {read, 1, length_, length_}, key_, step);
  if (buffer_.data != nullptr) {
    if (take_steps(at, std::fabs(rate), fast_rate, period)) write(steps_.sized(length_), step_rule_, -rule_.step_rate);
    return;
  }
  if (rule_.reset_probability > 0.0) source_.reset_column(at, rule_.reset_probability);
  if (rule_.most_steps > 0.0) {  // update management would scale a row down where it only cuts elements of a column
    const auto most = static_cast<float>(rule_.most_steps * rule_.target_granularity / std::fabs(rate));
    if (const Accelerator* where = resident()) change(*where, {read, 1, length_, length_}, 1.0f, nullptr, most);
    else for (int64_t i = 0; i < length_; ++i) read[i] = std::clamp(read[i], -most, most);
  }
  write(read, write_rule_, -rate);
}

/// Puts what was read into the buffer; whether there are steps to write.
bool TransferEdge::take_steps(int64_t at, double rate, double fast_rate, int64_t period) {
  double per_read = rate;
  bool starts_phase = false, writes = true;
  if (rule_.chopped) per_read = gain(rate, fast_rate, period) * static_cast<double>(state_.in_chopper[at]);
  if (rule_.measures_zero) {
    starts_phase = state_.switched[at] != 0;
    state_.switched[at] = 0;
    // Until every line has seen a whole phase its zero is not known, and steps are dropped.
    writes = counter(TransferState::kSweep) > rule_.phase;
  }
  float* steps = steps_.sized(length_);
  if (!buffer_.take(at, read_.sized(length_), static_cast<float>(per_read), starts_phase, steps) || !writes) return false;
  if (rule_.step_share == 1.0f) return true;
  if (const Accelerator* where = resident()) change(*where, {steps, 1, length_, length_}, rule_.step_share, nullptr, 0.0f);
  else for (int64_t i = 0; i < length_; ++i) steps[i] *= rule_.step_share;
  return true;
}

/// What a read adds to the buffer, in steps per weight.
double TransferEdge::gain(double rate, double fast_rate, int64_t period) const {
  double step = rule_.buffer_step * rule_.source_granularity;
  if (rule_.auto_granularity > 0.0)
    step *= rule_.auto_granularity / (static_cast<double>(slices_) * static_cast<double>(period));
  if (rule_.corrects_gradient) step *= std::fabs(fast_rate) * rule_.target_granularity / rule_.source_granularity;
  if (rule_.corrects_accumulation) {
    const auto reads = static_cast<double>(counter(TransferState::kSweep) % rule_.phase + 1);
    step *= std::min(reads, 1.0 / rule_.source_granularity);
  }
  return step * kLargest > rate ? rate / step : kLargest;
}

void TransferEdge::write(float* values, const PulseRule& rule, double rate) {
  const ConstMatrix slice{hot_, 1, slices_, slices_}, content{values, 1, length_, length_};
  const auto call = static_cast<uint32_t>(counter(TransferState::kCall));
  target_.update({rule, rule_.columns ? slice : content, rule_.columns ? content : slice, nullptr, rate, 0.0, key_, call, 0});
}

/// Switches signs after a read, also in the samples from `done` on.
void TransferEdge::switch_signs(int64_t at, int64_t done) {
  int64_t& sweep = counter(TransferState::kSweep);
  const bool regular = rule_.in_chop_probability > 0.0f && !rule_.in_chop_random;
  const bool switches = regular ? sweep % rule_.phase == rule_.phase - 1
                                : rule_.in_chop_probability > 0.0f &&
                                      uniform(Stream::IN_CHOPPER, 1)[0] < rule_.in_chop_probability;
  if (switches) {
    state_.in_chopper[at] *= -1.0f;
    flips_.assign(flips_.size(), 1.0f);
    flips_[static_cast<size_t>(at)] = -1.0f;
    flip(along_, slices_, flips_.data(), done);
    if (rule_.measures_zero) state_.switched[at] = 1;
  }
  if (at != slices_ - 1) return;
  if (rule_.out_chop_probability > 0.0f) {
    const float* draw = uniform(Stream::OUT_CHOPPER, length_);
    for (int64_t i = 0; i < length_; ++i) {
      flips_[static_cast<size_t>(i)] = draw[i] < rule_.out_chop_probability ? -1.0f : 1.0f;
      state_.out_chopper[i] *= flips_[static_cast<size_t>(i)];
    }
    flip(across_, length_, flips_.data(), done);
    if (const Accelerator* where = resident())
      Scratch::write(*where, const_cast<float*>(buffer_.out_sign), state_.out_chopper, length_);
  }
  ++sweep;
}

/// Multiplies the columns of the samples from `done` on by +1 or -1.
void TransferEdge::flip(Scratch& values, int64_t width, const float* flips, int64_t done) {
  if (done >= samples_) return;
  float* first = values.sized(samples_ * width) + done * width;
  if (const Accelerator* where = resident())
    return change(*where, {first, samples_ - done, width, width}, 1.0f, signs_.filled(flips, width), 0.0f);
  for (int64_t column = 0; column < width; ++column)
    for (int64_t b = 0; flips[column] < 0.0f && b < samples_ - done; ++b) first[b * width + column] *= -1.0f;
}

/// Numbers on the host, which decides with them.
const float* TransferEdge::uniform(Stream stream, int64_t n) {
  const Accelerator* where = resident();
  const UseAccelerator here(where != nullptr ? nullptr : accelerator());
  const auto step = static_cast<uint32_t>(counter(TransferState::kCall));
  rpu::uniform({{draws_.data(), 1, n, n}, 0.0f, 1.0f, key_, step, stream});
  return draws_.data();
}

// -- the whole step ---------------------------------------------------------------------------------------------------

void Compound::step(Step step) {
  Pulses& all = step.pulses;
  const int64_t batch = all.x.rows;
  if (scale_.maxima != nullptr && batch > 0) follow_size(all);
  if (edges_.front()->chopped()) edges_.front()->chop(all.x, all.d);
  int64_t samples = *samples_;
  for (int64_t start = 0; start < batch;) {
    int64_t stop = batch;
    for (size_t e = 0; e < edges_.size(); ++e)
      if (step.periods[e] > 0) stop = std::min(stop, start + step.periods[e] - samples % step.periods[e]);
    if (start == 0 && stop != batch && resident() == nullptr) largest_of(all.x, "x"), largest_of(all.d, "d");  // later pulses would be too late
    pulse(all, {start, stop});
    samples += stop - start;
    for (size_t e = 0; e < edges_.size(); ++e) {
      if (step.periods[e] == 0 || samples % step.periods[e] != 0) continue;
      const double factor = all.rates == nullptr ? 1.0 : static_cast<double>(all.rates[stop - 1]);
      edges_[e]->transfer(step.lr, all.lr * factor, step.periods[e], stop);
    }
    start = stop;
  }
  *samples_ = samples;
}

void Compound::pulse(const Pulses& all, Range samples) {
  Pulses some = all;
  some.x = part(all.x, samples), some.d = part(all.d, samples);
  if (all.rates != nullptr) some.rates = all.rates + samples.begin;
  some.first_sample += static_cast<uint32_t>(samples.begin);
  fast_.update(some);
}

/// Factors on the learning rate of each sample, by the running maxima of x and d.
void Compound::follow_size(Pulses& pulses) {
  const std::vector<float> x = largest_of(pulses.x, "x"), d = largest_of(pulses.d, "d");
  const double decay = (1.0 - scale_.momentum) / static_cast<double>(x.size());
  double x_max = static_cast<double>(scale_.maxima[0]), d_max = static_cast<double>(scale_.maxima[1]), highest = 0.0;
  rates_.resize(x.size());
  for (size_t b = 0; b < x.size(); ++b) {
    x_max = followed(x_max, static_cast<double>(x[b]), decay), d_max = followed(d_max, static_cast<double>(d[b]), decay);
    const double scale = x_max > 0.0 && d_max > 0.0 ? std::min(1.0 / (x_max * d_max), kLargest) : 1.0;
    highest = std::max(highest, scale);
    rates_[b] = static_cast<float>(scale) * (pulses.rates == nullptr ? 1.0f : pulses.rates[b]);
  }
  fast_.check_rate(pulses.rule, pulses.lr * highest, pulses.granularity);
  scale_.maxima[0] = static_cast<float>(x_max), scale_.maxima[1] = static_cast<float>(d_max);
  pulses.rates = rates_.data();
}

}  // namespace rpu
