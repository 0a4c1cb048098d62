// CUDA(function, arguments...) calls a function that returns a cudaError_t. The tests build this library once more with calls
// that fail when they say so.
#pragma once

#ifdef STEMLINE_CUDA_FAULTS
#include "faults.h"
#define CUDA(function, ...) stemline::cuda::call_or_fail(#function, [&] { return function(__VA_ARGS__); })
#else
#define CUDA(function, ...) function(__VA_ARGS__)
#endif
