// Cross entropy of logits against class ids, forward and backward in one launch: probabilities are never stored.
//
//   logits  [M, stride] S   in place -> gradient; columns V..stride are padding and become 0; a row is n * 16 bytes
//   targets [M] i32         a row with target == ignore_index has loss 0 and gradient 0
//   scale   [1] f32         in device memory: what multiplies every row's gradient (1 / counted rows, a loss scale)
//   loss, lse [M] f32, argmax [M] i32 (lowest index of equals); lse and argmax are written for ignored rows too
//
// With smoothing e:  loss = lse - (1-e) x[target] - e mean(x)     gradient = softmax - (1-e) [v == target] - e / V
//
// S is float or bf16. One block per row: grid M, a multiple of 32 up to 1024 threads, shared 16 bytes per warp. Two
// passes over the row, the second of which finds it in L2. The order of every sum is fixed. Logits of -inf (masked
// classes) are fine without smoothing; a NaN reaches loss, lse and the whole gradient of its row.
//
// Sources: Milakov and Gimelshein (2018) for the maximum and the sum in one pass; Szegedy et al. (2016), section 7, for
// the smoothing. Oracle: kernels/reference/cross_entropy.py.
#include "device.cuh"

template <class S>
union Vector {
  uint4 raw;
  S element[16 / sizeof(S)];
};

// Of some columns: maximum, sum of exp(x - maximum), sum of x, where the maximum is.
struct Summary {
  float top, sum, total;
  int arg;
};

DEVICE Summary join(const Summary& a, const Summary& b) {
  const bool first = a.top > b.top || (a.top == b.top && a.arg < b.arg);
  const float top = first ? a.top : b.top;
  return {top, a.sum * fast_exp(a.top - top) + b.sum * fast_exp(b.top - top), a.total + b.total, first ? a.arg : b.arg};
}

// This thread's share of the row.
template <class S>
DEVICE Summary summarise(const S* x, int V) {
  constexpr int EACH = 16 / sizeof(S);
  Summary row = {-3e38f, 0.0f, 0.0f, 0};  // finite, so that logits of -inf stay harmless
  for (int v = threadIdx.x * EACH; v < V; v += blockDim.x * EACH) {
    Vector<S> in;
    in.raw = *(const uint4*)(x + v);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      if (v + i >= V) continue;
      const float value = to_float(in.element[i]);
      if (value > row.top) row.sum *= fast_exp(row.top - value), row.top = value, row.arg = v + i;
      row.sum += fast_exp(value - row.top), row.total += value;
    }
  }
  return row;
}

// The summary of a warp's 32 threads, in each of them: joined in the same order in every lane, so with the same bits.
DEVICE Summary join_warp(Summary row) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const Summary other = {shuffle_xor(row.top, mask), shuffle_xor(row.sum, mask), shuffle_xor(row.total, mask),
                           shuffle_xor(row.arg, mask)};
    row = threadIdx.x & mask ? join(other, row) : join(row, other);
  }
  return row;
}

template <class S>
DEVICE void softmax_cross_entropy(S* logits, const int* targets, const float* scale, float* loss, float* lse,
                                  int* argmax, int V, int stride, int ignore_index, float smoothing) {
  constexpr int EACH = 16 / sizeof(S);
  SHARED(Summary, warps);
  S* x = logits + (size_t)blockIdx.x * stride;
  const int target = targets[blockIdx.x];
  const bool counted = target != ignore_index;
  const float wanted = counted ? to_float(x[target]) : 0.0f;  // before anybody overwrites it: the barrier is in between

  Summary row = join_warp(summarise(x, V));
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = row;
  __syncthreads();  // the warps' summaries are there, and every thread has read the row
  row = warps[0];
  for (unsigned w = 1; w < blockDim.x / 32; w++) row = join(row, warps[w]);

  const float log_sum = row.top + logf(row.sum), uniform = smoothing / V, factor = counted ? *scale : 0.0f;
  if (threadIdx.x == 0) {
    const float spread = smoothing > 0.0f ? uniform * row.total : 0.0f;  // 0 * -inf would be NaN
    loss[blockIdx.x] = counted ? log_sum - (1.0f - smoothing) * wanted - spread : 0.0f;
    lse[blockIdx.x] = log_sum;
    argmax[blockIdx.x] = row.arg;
  }
  for (int v = threadIdx.x * EACH; v < stride; v += blockDim.x * EACH) {
    Vector<S> io;
    io.raw = *(const uint4*)(x + v);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      const float p = (v + i == target ? 1.0f - smoothing : 0.0f) + uniform;
      const float d = fast_exp(to_float(io.element[i]) - log_sum) - p;
      put(&io.element[i], counted && v + i < V ? d * factor : 0.0f);
    }
    *(uint4*)(x + v) = io.raw;
  }
}

#define SOFTMAX_CROSS_ENTROPY(suffix, S)                                                                               \
  KERNEL(softmax_cross_entropy_##suffix, 1024, 2, S* logits, const int* targets, const float* scale, float* loss,     \
         float* lse, int* argmax, int V, int stride, int ignore_index, float smoothing) {                             \
    softmax_cross_entropy<S>(logits, targets, scale, loss, lse, argmax, V, stride, ignore_index, smoothing);          \
  }
SOFTMAX_CROSS_ENTROPY(f32, float)
SOFTMAX_CROSS_ENTROPY(bf16, u16)
