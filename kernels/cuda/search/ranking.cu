// The best words of rows of logits, best first, without sorting or storing probabilities.
//
// rank_words:     logits [m, stride] f32, bias [V], ranked [V] f32 (the bias again, -inf at words that are excluded:
//                 they keep their share of the probability), going [*] i32
//                 -> log_probs [*,K] f32, words [*,K] i32 of rows first .. first + m - 1: the K words of highest
//                 log p = (logit - largest) - log(sum of exp(logit - largest)), equal ones by word; -inf where no word
//                 is left. All of them are -inf in a row with a NaN or +infinity, or with nothing but -infinity.
//                 Row r is the (r % K)-th of its sentence, and left alone if that has no more than going[r / K] rows
//                 going on. grid m, 256 threads, shared 2112 bytes
// argmax_rows:    logits [m, stride] f32, bias [V] (null: none) -> out [m] i64, the lowest of the largest; the first
//                 NaN, where there is one. grid m, 256 threads, shared 64 bytes
// exclude_words:  ranked [V] f32 in place: -inf at excluded [X] i64, which are in 0..V-1, or *error = OUT_OF_RANGE.
//                 grid ceil(X / 256), 256 threads
//
// How K words are found: 256 or fewer segments of the row are searched for their best word. The best of those is the
// next result, and its segment is searched once more, for the best word behind it. So the row is read twice, and one
// segment of it for each further word.
//
// Source of the sum in one pass: Milakov and Gimelshein (2018). Oracle: kernels/reference/decoding.py.
#include "runtime/device.cuh"

constexpr int SEGMENTS = 256, LEAST_SEGMENT = 128, WARPS = 8, NO_WORD = 0x7FFFFFFF;

DEVICE float minus_infinity() { return bits_to_float(0xFF800000u); }

struct Best {
  float value;
  int word;
};

// Does a stand before b? NaNs first, as NumPy's argmax has it; then the larger; then the lower word.
DEVICE bool before(const Best& a, const Best& b) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan;
  if (!a_nan && a.value != b.value) return a.value > b.value;
  return a.word < b.word;
}

DEVICE Best best_of_warp(Best mine) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const Best other = {shuffle_xor(mine.value, mask), shuffle_xor(mine.word, mask)};
    if (before(other, mine)) mine = other;
  }
  return mine;
}

// Largest logit and the sum of exp(logit - largest).
struct Sum {
  float top, sum;
};

// exp(x - top) for x <= top, 1 for two equal infinities.
DEVICE float share(float x, float top) { return x == top ? 1.0f : fast_exp(x - top); }

DEVICE Sum join(const Sum& a, const Sum& b) {
  const float top = a.top > b.top ? a.top : b.top;
  return {top, a.sum * share(a.top, top) + b.sum * share(b.top, top)};
}

// Of a whole row, in every thread: joined in one order, so with the same bits.
DEVICE Sum sum_row(const float* x, const float* bias, int V, Sum* warps) {
  Sum mine = {minus_infinity(), 0.0f};
#pragma unroll 4
  for (int v = threadIdx.x; v < V; v += blockDim.x) {
    const float value = x[v] + bias[v];
    if (value > mine.top) mine.sum *= share(mine.top, value), mine.top = value;
    mine.sum += share(value, mine.top);
  }
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const Sum other = {shuffle_xor(mine.top, mask), shuffle_xor(mine.sum, mask)};
    mine = threadIdx.x & mask ? join(other, mine) : join(mine, other);
  }
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = mine;
  __syncthreads();  // the warps' sums are there
  Sum row = warps[0];
  for (int w = 1; w < WARPS; w++) row = join(row, warps[w]);
  return row;
}

struct Row {
  const float *logits, *ranked;
  float top, log_sum;
  int V, segment;  // words of a segment
};

// The best word of a segment that stands behind `last`, in every lane of the warp. In a row with a NaN or +infinity, or
// with nothing but -infinity, every log p is NaN or -inf, and neither is above -inf.
DEVICE Best search(const Row& row, int segment, const Best& last) {
  Best mine = {minus_infinity(), NO_WORD};
  const int begin = segment * row.segment, end = begin + row.segment < row.V ? begin + row.segment : row.V;
#pragma unroll 4
  for (int v = begin + threadIdx.x % 32; v < end; v += 32) {
    const Best here = {row.logits[v] + row.ranked[v] - row.top - row.log_sum, v};
    if (here.value > mine.value && before(last, here)) mine = here;
  }
  return best_of_warp(mine);
}

// By one warp: the K best of the segments' best and of those behind them.
DEVICE void take_best(const Row& row, const Best* segments, float* log_probs, int* words, int K) {
  const int lane = threadIdx.x, count = (row.V + row.segment - 1) / row.segment;
  Best mine[SEGMENTS / 32];  // of segments lane, lane + 32, ...
#pragma unroll
  for (int i = 0; i < SEGMENTS / 32; i++)
    mine[i] = i * 32 + lane < count ? segments[i * 32 + lane] : Best{minus_infinity(), NO_WORD};
  for (int k = 0; k < K; k++) {
    Best next = mine[0];
#pragma unroll
    for (int i = 1; i < SEGMENTS / 32; i++)
      if (before(mine[i], next)) next = mine[i];
    next = best_of_warp(next);
    if (lane == 0) log_probs[k] = next.value, words[k] = next.word;
    if (next.word == NO_WORD || k + 1 == K) continue;
    const int segment = next.word / row.segment;
    const Best behind = search(row, segment, next);
#pragma unroll
    for (int i = 0; i < SEGMENTS / 32; i++)
      if (segment == i * 32 + lane) mine[i] = behind;
  }
}

KERNEL(rank_words, 256, 4, const float* logits, const float* bias, const float* ranked, const int* going,
       float* log_probs, int* words, int first, int V, int stride, int K) {
  SHARED(Best, segments);
  const int at = first + blockIdx.x, warp = threadIdx.x / 32;
  if (at % K >= going[at / K]) return;
  const float* x = logits + (size_t)blockIdx.x * stride;
  const Sum sum = sum_row(x, bias, V, (Sum*)(segments + SEGMENTS));
  const int even = (V + SEGMENTS * 32 - 1) / (SEGMENTS * 32) * 32;
  const Row row = {x, ranked, sum.top, logf(sum.sum), V, even > LEAST_SEGMENT ? even : LEAST_SEGMENT};
  for (int s = warp; s * row.segment < V; s += WARPS) {
    const Best best = search(row, s, {bits_to_float(0x7F800000u), -1});
    if (threadIdx.x % 32 == 0) segments[s] = best;
  }
  __syncthreads();  // the segments' best are there
  if (warp == 0) take_best(row, segments, log_probs + (size_t)at * K, words + (size_t)at * K, K);
}

KERNEL(argmax_rows, 256, 4, const float* logits, const float* bias, i64* out, int V, int stride) {
  SHARED(Best, warps);
  const float* x = logits + (size_t)blockIdx.x * stride;
  Best mine = {minus_infinity(), NO_WORD};
#pragma unroll 4
  for (int v = threadIdx.x; v < V; v += blockDim.x) {
    const Best here = {x[v] + (bias ? bias[v] : 0.0f), v};
    if (before(here, mine)) mine = here;
  }
  mine = best_of_warp(mine);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = mine;
  __syncthreads();  // the warps' best are there
  if (threadIdx.x > 0) return;
  for (int w = 1; w < WARPS; w++)
    if (before(warps[w], mine)) mine = warps[w];
  out[blockIdx.x] = mine.word;
}

KERNEL(exclude_words, 256, 8, float* ranked, const i64* excluded, int X, int V, u32* error) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < X && in_range(excluded[i], V, error)) ranked[excluded[i]] = minus_infinity();
}
