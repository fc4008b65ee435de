// Drift of the stored weights. Compiled once per instruction-set level.
#include "../bodies/drift.hpp"
#include "loops.hpp"

RPU_BEGIN

template <class Body> void drift_rows(const DriftArgs& args, Range rows) { over_quads(Body(args), args.weights.cols, rows); }

RPU_END

namespace rpu::RPU_LEVEL {

void register_drift(DriftKernels& table) {
  table.drift = drift_rows<LetDrift>;
  table.follow = drift_rows<FollowDrift>;
  table.draw_exponents = drift_rows<DrawDriftExponents>;
}

}  // namespace rpu::RPU_LEVEL
