// A word of packed weights: one float rounded to tf32, or two numbers in bf16, the first in the lower half.
// `order` holds their flat indices into the weights, -1 for a zero (pack.py).
#pragma once
#include "runtime/device.cuh"

DEVICE float element(const float* weight, int at) { return at < 0 ? 0.0f : weight[at]; }

DEVICE u32 word_of(const float* weight, const int* order, u16) {
  return (u32)to_bf16(element(weight, order[1])) << 16 | to_bf16(element(weight, order[0]));
}
DEVICE u32 word_of(const float* weight, const int* order, float) { return to_tf32(element(weight, order[0])); }
