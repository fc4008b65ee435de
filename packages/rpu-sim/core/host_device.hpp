// For plain functions, on single floats, that the host and kernels of the CUDA plugin share.
#pragma once

#if defined(__CUDACC__)
#  define RPU_BOTH __host__ __device__ inline
#else
#  define RPU_BOTH inline
#endif
