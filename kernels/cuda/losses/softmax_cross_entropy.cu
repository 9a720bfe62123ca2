// Cross entropy of logits against class ids, forward and backward in one launch: probabilities are never stored.
//
// softmax_cross_entropy:
//   logits  [M, stride] S   gradient != 0: in place -> gradient, columns V..stride are padding and become 0; else read
//   bias    [V] f32         added to every row of logits where they are read; null: none
//   targets [M] i64         a row with target == ignore_index has loss 0 and gradient 0; another one out of 0..V-1
//                           gives *error = OUT_OF_RANGE, loss NaN and gradient 0
//   scale   [1] f32         in device memory: what multiplies every row's gradient (1 / counted rows, a loss scale)
//   loss, lse [M] f32       lse is written for ignored rows too
// cross_entropy_gradient:   logits [M,V] f32 (complete, without a bias), targets, lse as above, dlosses [M] f32
//                           -> dlogits [M,V], which may be logits itself. grid M, 256 threads
//
// With smoothing e:  loss = lse - (1-e) x[target] - e mean(x)     gradient = softmax - (1-e) [v == target] - e / V
//
// S is float or bf16. One block per row: grid M, a multiple of 32 up to 1024 threads, shared 12 bytes per warp. Two
// passes over the row, the second of which finds it in L2, by 16 bytes where stride makes every row n * 16 bytes long,
// else by elements (slower: pad V). The order of every sum is fixed. Logits of -inf (masked classes) are fine without
// smoothing; a NaN reaches loss, lse and the whole gradient of its row.
//
// Sources: Milakov and Gimelshein (2018) for the maximum and the sum in one pass; Szegedy et al. (2016), section 7, for
// the smoothing. Oracle: kernels/reference/cross_entropy.py.
#include "runtime/device.cuh"

template <class S, int EACH>
struct alignas(EACH * sizeof(S)) Vector {
  S element[EACH];
};

// Of some columns: maximum, sum of exp(x - maximum), sum of x.
struct Summary {
  float top, sum, total;
};

DEVICE Summary join(const Summary& a, const Summary& b) {
  const float top = a.top > b.top ? a.top : b.top;
  return {top, a.sum * fast_exp(a.top - top) + b.sum * fast_exp(b.top - top), a.total + b.total};
}

// This thread's share of the row.
template <int EACH, class S>
DEVICE Summary summarise(const S* x, const float* bias, int V) {
  Summary row = {-3e38f, 0.0f, 0.0f};  // finite, so that logits of -inf stay harmless
  for (int v = threadIdx.x * EACH; v < V; v += blockDim.x * EACH) {
    const Vector<S, EACH> in = *(const Vector<S, EACH>*)(x + v);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      if (v + i >= V) continue;
      const float value = to_float(in.element[i]) + (bias ? bias[v + i] : 0.0f);
      if (value > row.top) row.sum *= fast_exp(row.top - value), row.top = value;
      row.sum += fast_exp(value - row.top), row.total += value;
    }
  }
  return row;
}

// The summary of a warp's 32 threads, in each of them: joined in the same order in every lane, so with the same bits.
DEVICE Summary join_warp(Summary row) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const Summary other = {shuffle_xor(row.top, mask), shuffle_xor(row.sum, mask), shuffle_xor(row.total, mask)};
    row = threadIdx.x & mask ? join(other, row) : join(row, other);
  }
  return row;
}

// What the gradient of a row needs.
struct Gradient {
  float log_sum, uniform, hit, factor;  // hit: 1 - smoothing
  i64 target;
  bool counted;
};

template <int EACH, class S>
DEVICE void write_gradient(S* x, const float* bias, const Gradient& row, int V, int stride) {
  for (int v = threadIdx.x * EACH; v < stride; v += blockDim.x * EACH) {
    Vector<S, EACH> io = *(const Vector<S, EACH>*)(x + v);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      const float b = bias && v + i < V ? bias[v + i] : 0.0f, p = (v + i == row.target ? row.hit : 0.0f) + row.uniform;
      const float d = fast_exp(to_float(io.element[i]) + b - row.log_sum) - p;
      put(&io.element[i], row.counted && v + i < V ? d * row.factor : 0.0f);
    }
    *(Vector<S, EACH>*)(x + v) = io;
  }
}

template <int EACH, class S>
DEVICE void softmax_cross_entropy(S* logits, const float* bias, const i64* targets, const float* scale, float* loss,
                                  float* lse, int V, int stride, i64 ignore_index, float smoothing, int gradient,
                                  u32* error) {
  SHARED(Summary, warps);
  S* x = logits + (size_t)blockIdx.x * stride;
  const i64 target = targets[blockIdx.x];
  const bool counted = target != ignore_index && in_range(target, V, error);
  // Before anybody overwrites it: the barrier is in between.
  const float wanted = counted ? to_float(x[target]) + (bias ? bias[target] : 0.0f) : 0.0f;

  Summary row = join_warp(summarise<EACH>(x, bias, V));
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = row;
  __syncthreads();  // the warps' summaries are there, and every thread has read the row
  row = warps[0];
  for (unsigned w = 1; w < blockDim.x / 32; w++) row = join(row, warps[w]);

  const float log_sum = row.top + logf(row.sum), uniform = smoothing / V;
  if (threadIdx.x == 0) {
    const float spread = smoothing > 0.0f ? uniform * row.total : 0.0f;  // 0 * -inf would be NaN
    const float absent = target == ignore_index ? 0.0f : bits_to_float(0x7FC00000u);
    loss[blockIdx.x] = counted ? log_sum - (1.0f - smoothing) * wanted - spread : absent;
    lse[blockIdx.x] = log_sum;
  }
  if (gradient)
    write_gradient<EACH>(x, bias, {log_sum, uniform, 1.0f - smoothing, counted ? *scale : 0.0f, target, counted}, V,
                         stride);
}

#define SOFTMAX_CROSS_ENTROPY(suffix, S)                                                                               \
  KERNEL(softmax_cross_entropy_##suffix, 1024, 1, S* logits, const float* bias, const i64* targets,                   \
         const float* scale, float* loss, float* lse, int V, int stride, i64 ignore_index, float smoothing,           \
         int gradient, u32* error) {                                                                                  \
    constexpr int EACH = 16 / sizeof(S);                                                                              \
    if (stride % EACH)                                                                                                \
      softmax_cross_entropy<1>(logits, bias, targets, scale, loss, lse, V, stride, ignore_index, smoothing, gradient, \
                               error);                                                                                \
    else                                                                                                              \
      softmax_cross_entropy<EACH>(logits, bias, targets, scale, loss, lse, V, stride, ignore_index, smoothing,        \
                                  gradient, error);                                                                   \
  }
SOFTMAX_CROSS_ENTROPY(f32, float)
SOFTMAX_CROSS_ENTROPY(bf16, u16)

KERNEL(cross_entropy_gradient, 256, 8, const float* logits, const i64* targets, const float* lse, const float* dlosses,
       float* dlogits, int V, i64 ignore_index, float smoothing) {
  const i64 target = targets[blockIdx.x];
  const float log_sum = lse[blockIdx.x], uniform = smoothing / V, factor = dlosses[blockIdx.x];
  const float* x = logits + (size_t)blockIdx.x * V;
  float* d = dlogits + (size_t)blockIdx.x * V;
  for (int v = threadIdx.x; v < V; v += blockDim.x) {
    const float p = (v == target ? 1.0f - smoothing : 0.0f) + uniform;
    d[v] = target == ignore_index ? 0.0f : (fast_exp(x[v] - log_sum) - p) * factor;
  }
}
