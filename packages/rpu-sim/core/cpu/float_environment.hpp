// Pins the floating-point mode while a kernel runs. Callers may have set flush-to-zero on their thread
// (torch.set_flush_denormal does), which would change results between threads.
#pragma once
#include <cstdint>
#if defined(__x86_64__) || defined(_M_X64)
#  include <immintrin.h>
#endif

namespace rpu {

class FloatEnvironment {
 public:
#if defined(__x86_64__) || defined(_M_X64)
  FloatEnvironment() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80); }  // default: round to nearest, no flush, masked
  ~FloatEnvironment() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  FloatEnvironment() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    const uint64_t normal = 0;
    asm volatile("msr fpcr, %0" : : "r"(normal));
  }
  ~FloatEnvironment() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

 private:
  uint64_t saved_;
#else
  FloatEnvironment() {}
#endif

 public:
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;
};

}  // namespace rpu
