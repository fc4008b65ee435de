// The step of a compound (the Tiki-Taka family): pulses of the fast array, and transfers from array to array when it is
// time. What the arrays are, and who keeps their counters, is behind CellArray.
#pragma once
#include <cstdint>
#include <vector>

#include "../kernels.hpp"
#include "scratch.hpp"
#include "transfer.hpp"

namespace rpu {

/// How a change becomes pulses; `origin` is what the caller made it from, for arrays that he pulses himself.
struct PulseRule {
  const params::UpdateParameters* parameters;
  const void* origin;
};

/// One update of an array.
struct Pulses {
  PulseRule rule;
  ConstMatrix x, d;    // [samples, in], [samples, out]
  const float* rates;  // factor on lr of each sample, on the host, or null
  double lr;
  double granularity;  // 0: that of the array
  uint64_t train_seed;
  uint32_t train_step, first_sample;
};

/// An array of a compound, on the host or on a GPU: it is pulsed, read and reset.
class CellArray {
 public:
  virtual ~CellArray() = default;
  virtual void update(const Pulses& pulses) = 0;
  virtual void check_rate(const PulseRule& rule, double lr, double granularity) = 0;
  virtual void reset_column(int64_t column, double probability) = 0;
};

/// The converters through which an array is read.
class Reader {
 public:
  virtual ~Reader() = default;
  virtual void read(const ConstMatrix& input, const Matrix& output, uint64_t seed, uint32_t step) const = 0;
};

/// Rules of one transfer. Rates and granularities are double as in Python, where they come from.
struct TransferRule {
  bool columns;                        // slices are columns of the source, else rows
  int64_t reads;                       // of one transfer
  bool random_selection;               // of the first slice
  double rate;                         // of the transfer, ...
  bool scales_rate;                    // ... times that of the tile
  double reset_probability;            // of the slice of the source after a read
  double most_steps;                   // of a plain write of a row; 0: trains of any length, or of a column
  double source_granularity, target_granularity;
  bool chopped, measures_zero;
  float in_chop_probability, out_chop_probability;
  bool in_chop_random;
  int64_t phase;                       // reads of a slice between two regular switches of its sign
  double step_rate;                    // learning rate of the write of one step of the buffer
  float step_share;                    // what a step is in the write
  double buffer_step, auto_granularity;  // of the buffer, in granularities of the source; per samples of a sweep, 0: off
  bool corrects_gradient, corrects_accumulation;

  template <class Visitor> void for_each_field(Visitor&& visit) {
    visit("columns", columns), visit("reads", reads), visit("random_selection", random_selection), visit("rate", rate);
    visit("scales_rate", scales_rate), visit("reset_probability", reset_probability), visit("most_steps", most_steps);
    visit("source_granularity", source_granularity), visit("target_granularity", target_granularity);
    visit("chopped", chopped), visit("measures_zero", measures_zero);
    visit("in_chop_probability", in_chop_probability), visit("out_chop_probability", out_chop_probability);
    visit("in_chop_random", in_chop_random), visit("phase", phase), visit("step_rate", step_rate);
    visit("step_share", step_share), visit("buffer_step", buffer_step), visit("auto_granularity", auto_granularity);
    visit("corrects_gradient", corrects_gradient), visit("corrects_accumulation", corrects_accumulation);
  }
};

/// What a transfer keeps; a slice is a row of its matrices.
struct TransferState {
  enum Counter { kSlice, kSweep, kCall, kCounters };
  int64_t* counters;
  float *in_chopper, *out_chopper;  // signs of the slices and of their elements, with choppers
  int64_t* switched;                // whether a slice switched since its last read, where zeros are measured
};

class TransferEdge {
 public:
  /// `buffer` has no data in a compound that writes what it reads; `step_rule` writes its steps.
  TransferEdge(const TransferRule& rule, const TransferState& state, const TransferBuffer& buffer, const Reader& reader,
               CellArray& source, CellArray& target, PulseRule write_rule, PulseRule step_rule, int64_t slices, int64_t length);

  void set_key(uint64_t key) { key_ = key; }
  bool chopped() const { return rule_.chopped; }

  /// x and d with the present signs of their lines, as copies in which transfers may switch signs.
  void chop(ConstMatrix& x, ConstMatrix& d);

  /// Reads and writes the next slices after `period` samples. `fast_rate` is the learning rate of the fast array at the
  /// last sample; samples from `done` on are still to come.
  void transfer(double lr, double fast_rate, int64_t period, int64_t done);

 private:
  void transfer_slice(int64_t at, double rate, double fast_rate, int64_t period);
  bool take_steps(int64_t at, double rate, double fast_rate, int64_t period);
  double gain(double rate, double fast_rate, int64_t period) const;
  void write(float* values, const PulseRule& rule, double rate);
  void switch_signs(int64_t at, int64_t done);
  void flip(Scratch& values, int64_t width, const float* flips, int64_t done);
  const float* uniform(Stream stream, int64_t n);
  ConstMatrix with_signs(const ConstMatrix& values, const float* signs, Scratch& out);
  int64_t& counter(TransferState::Counter which) const { return state_.counters[which]; }

  const TransferRule rule_;
  const TransferState state_;
  const TransferBuffer buffer_;
  const Reader& reader_;
  CellArray &source_, &target_;
  const PulseRule write_rule_, step_rule_;
  const int64_t slices_, length_;
  uint64_t key_ = 0;
  std::vector<float> one_hot_, draws_, flips_;  // on the host
  Scratch slice_, read_, steps_, along_, across_, signs_;
  const float* hot_ = nullptr;  // one_hot_ where the arrays are
  int64_t samples_ = 0;  // that were chopped
};

/// Running maxima of |x| and |d|, by which the learning rate of the fast array follows their size; null: it does not.
struct AutoScale {
  float* maxima;
  double momentum;  // of one update call
};

class Compound {
 public:
  struct Step {
    Pulses pulses;    // of the fast array, with its learning rate
    double lr;        // of the tile
    const int64_t* periods;  // of the edges in samples, 0: never
  };

  Compound(CellArray& fast, std::vector<TransferEdge*> edges, int64_t* samples, const AutoScale& scale)
      : fast_(fast), edges_(std::move(edges)), samples_(samples), scale_(scale) {}

  void step(Step step);

 private:
  void follow_size(Pulses& pulses);
  void pulse(const Pulses& all, Range samples);

  CellArray& fast_;
  std::vector<TransferEdge*> edges_;
  int64_t* samples_;
  AutoScale scale_;
  std::vector<float> rates_;
};

}  // namespace rpu
