// Write noise: what the array shows of the stored weights. Compiled once per instruction-set level.
#include "../bodies/write.hpp"
#include "loops.hpp"

RPU_BEGIN

template <class Source> void write_pulsed_from(const WriteArgs& args, Range rows) {
  Source source(*args.pulses, args.flip);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    source.set_row(row);
    for_each_quad(row, args.visible.cols, [&](const Quad& quad) { write_pulsed_quad(args, source, row, quad); });
  }
}

void write_pulsed(const WriteArgs& args, Range rows) {
  for_source(*args.pulses, [&](auto tag) { write_pulsed_from<typename decltype(tag)::Source>(args, rows); });
}

void write(const WriteArgs& args, Range rows) { over_quads(WriteAll(args), args.visible.cols, rows); }

RPU_END

namespace rpu::RPU_LEVEL {

void register_write(WriteKernels& table) {
  table.pulsed = write_pulsed;
  table.all = write;
}

}  // namespace rpu::RPU_LEVEL
