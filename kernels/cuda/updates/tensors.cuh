// A table of all parameters of a model, so that one launch serves them all.
//
//   tensors [n] Tensor   one entry per parameter; every array 16-byte aligned
//   chunks  [g] Chunk    block k works on the CHUNK elements from index * CHUNK on of tensors[tensor]
#pragma once
#include "runtime/device.cuh"

constexpr int CHUNK = 8192;

struct Tensor {
  float* param;
  const float* grad;
  float* m;
  float* v;
  u64 size;
};
struct Chunk {
  u32 tensor, index;
};

// The elements of this block are begin, begin + 1, ..., end - 1.
struct Share {
  Tensor tensor;
  u64 begin, end;
};

DEVICE Share share_of_block(const Tensor* tensors, const Chunk* chunks) {
  const Chunk chunk = chunks[blockIdx.x];
  Share share = {tensors[chunk.tensor], (u64)chunk.index * CHUNK, (u64)chunk.index * CHUNK + CHUNK};
  if (share.end > share.tensor.size) share.end = share.tensor.size;
  return share;
}
