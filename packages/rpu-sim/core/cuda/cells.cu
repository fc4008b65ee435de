// Operations on cells: lifecycle, initial weights, write noise, drift.
#include "../bodies/cells.hpp"
#include "../bodies/drift.hpp"
#include "../bodies/write.hpp"
#include "plugin.hpp"

namespace rpu::RPU_LEVEL {
namespace {

template <class Body> void over_weights(const LifecycleArgs& args, const RpuCall& call) {
  over_quads(stream_of(call), args.weights.rows, args.weights.cols, Body(args));
}

template <class Body> void over_drift(const DriftArgs& args, const RpuCall& call) {
  over_quads(stream_of(call), args.weights.rows, args.weights.cols, Body(args));
}

}  // namespace

void run_decay(const LifecycleArgs& args, const RpuCall& call) { over_weights<Decay>(args, call); }
void run_diffuse(const LifecycleArgs& args, const RpuCall& call) { over_weights<Diffuse>(args, call); }
void run_reset(const LifecycleArgs& args, const RpuCall& call) { over_weights<Reset>(args, call); }
void run_clip(const LifecycleArgs& args, const RpuCall& call) { over_weights<Clip>(args, call); }

void run_uniform(const UniformArgs& args, const RpuCall& call) {
  over_quads(stream_of(call), args.out.rows, args.out.cols, Uniform(args));
}

void run_write(const WriteArgs& args, const RpuCall& call) {
  over_quads(stream_of(call), args.visible.rows, args.visible.cols, WriteAll(args));
}

void run_drift(const DriftArgs& args, const RpuCall& call) { over_drift<LetDrift>(args, call); }
void run_follow_drift(const DriftArgs& args, const RpuCall& call) { over_drift<FollowDrift>(args, call); }
void run_draw_exponents(const DriftArgs& args, const RpuCall& call) { over_drift<DrawDriftExponents>(args, call); }

}  // namespace rpu::RPU_LEVEL
