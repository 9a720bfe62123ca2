// Rows of a table by id, and the gradient by rows: no atomics, each row summed in token order.
//
// embedding_forward:  weight [V,E] f32, ids [n] i64 in 0..V-1 -> y [n,E] f32. A thread makes four elements: grid
//                     ceil(n*E / 1024), 256 threads.
// embedding_sort:     grid 1, a multiple of 32 up to 1024 threads, shared 8 * size + 128 bytes; n <= size <= 8192 (size
//                     a power of two, at least the number of threads)
//   ids [n] i64          tokens with id == padding_idx are dropped (-1: none)
//   rows [n] i64      -> the ids that occur, ascending; count [1] i32 -> how many; entries past it are left alone
//   starts [n+1] i32  -> starts[k] .. starts[k+1] are the positions of rows[k]
//   positions [n] i32 -> token positions, grouped by row, ascending within a row
// More tokens are sorted in pieces, in these launches, with the same results; keys, other [total] u64 are work space,
// of g pieces of `run` keys (a power of two, at least the number of threads), total = g * run:
// embedding_sort_runs:   grid g, up to 1024 threads, shared 8 * run bytes:  ids -> keys, each piece sorted
// embedding_merge:       grid ceil(total / 256), 256 threads:  keys in sorted pieces of `width` -> other in pieces of
//                        twice that. From width = run on, changing places, until there is one piece
// embedding_count_rows:  grid g, up to 1024 threads, shared 128 bytes:  keys -> heads [g] u32, rows beginning in each
// embedding_write_rows:  the same with shared 384 bytes:  keys, heads -> rows, starts, positions, count as above
// embedding_sum:      grid at least count (n is always enough), 256 threads, no barrier
//   dy [n,E] f32      -> values f32: [count,E], or the rows of a dense [V,E] if dense != 0 (other rows are left alone)
//
// An id out of 0..V-1 gives *error = OUT_OF_RANGE, forward a row of NaN, backward nothing.
// Source of the sort: Batcher (1968), bitonic. Oracle: kernels/reference/embedding.py.
#include "runtime/sums.cuh"

constexpr int EACH = 4;

KERNEL(embedding_forward, 256, 8, const float* weight, const i64* ids, float* y, int V, int E, u64 size, u32* error) {
  const u64 begin = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * EACH;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    const u64 element = begin + i;
    if (element >= size) continue;
    const i64 id = ids[element / E];
    y[element] = in_range(id, V, error) ? weight[(size_t)id * E + element % E] : bits_to_float(0x7FC00000u);
  }
}

constexpr u64 NOTHING = ~(u64)0;

DEVICE u64 key_of(i64 id, int position, i64 padding_idx, int V, u32* error) {
  return id != padding_idx && in_range(id, V, error) ? (u64)id << 32 | (u32)position : NOTHING;
}

// Batcher's network: `size` keys in shared memory, ascending.
DEVICE void sort_keys(u64* key, int size) {
  for (int run = 2; run <= size; run *= 2)
    for (int gap = run / 2; gap > 0; gap /= 2) {
      for (int pair = threadIdx.x; pair < size / 2; pair += blockDim.x) {
        const int a = pair / gap * 2 * gap + pair % gap, b = a + gap;
        const u64 x = key[a], y = key[b];
        if ((x > y) == ((a & run) == 0)) key[a] = y, key[b] = x;
      }
      __syncthreads();  // this round is complete
    }
}

// Does a new row start at sorted position i?
DEVICE bool is_head(const u64* key, int i) {
  return key[i] != NOTHING && (i == 0 || key[i] >> 32 != key[i - 1] >> 32);
}

DEVICE u32 count_heads(const u64* key, int begin, int end) {
  u32 heads = 0;
  for (int i = begin; i < end; i++) heads += is_head(key, i);
  return heads;
}

// What follows from sorted keys begin .. end - 1 of `size`, where row is the number of rows that begin below, and total
// that of all.
DEVICE void write_rows(const u64* key, int begin, int end, int size, u32 row, u32 total, i64* rows, int* starts,
                       int* positions) {
  for (int i = begin; i < end; i++) {
    const bool used = key[i] != NOTHING;
    if (used) positions[i] = (int)(u32)key[i];
    if (is_head(key, i)) rows[row] = (i64)(key[i] >> 32), starts[row] = i, row++;
    if (!used && (i == 0 || key[i - 1] != NOTHING)) starts[total] = i;
    if (used && i == size - 1) starts[total] = size;
  }
}

KERNEL(embedding_sort, 1024, 1, const i64* ids, int n, int size, i64 padding_idx, int V, i64* rows, int* starts,
       int* positions, int* count, u32* error) {
  SHARED(u64, key);  // id in the upper half, position in the lower: all keys differ, so their order is unique
  const int tid = threadIdx.x, threads = blockDim.x;
  for (int i = tid; i < size; i += threads) key[i] = i < n ? key_of(ids[i], i, padding_idx, V, error) : NOTHING;
  __syncthreads();  // keys are there
  sort_keys(key, size);

  const int each = size / threads, begin = tid * each;  // a contiguous share per thread
  u32 total = 0;
  const u32 row = sum_below(count_heads(key, begin, begin + each), (u32*)(key + size), total);
  write_rows(key, begin, begin + each, size, row, total, rows, starts, positions);
  if (tid == 0) *count = (int)total;
}

KERNEL(embedding_sort_runs, 1024, 1, const i64* ids, int n, int run, i64 padding_idx, int V, u64* keys, u32* error) {
  SHARED(u64, key);
  const int first = blockIdx.x * run;
  for (int i = threadIdx.x; i < run; i += blockDim.x)
    key[i] = first + i < n ? key_of(ids[first + i], first + i, padding_idx, V, error) : NOTHING;
  __syncthreads();  // keys are there
  sort_keys(key, run);
  for (int i = threadIdx.x; i < run; i += blockDim.x) keys[first + i] = key[i];
}

// How many of the sorted keys are below x, or not above it if `equal`.
DEVICE int count_below(const u64* keys, int size, u64 x, bool equal) {
  int low = 0;
  for (int high = size; low < high;) {
    const int middle = low + (high - low) / 2;
    if (keys[middle] < x || (equal && keys[middle] == x))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// A key goes behind those of its own piece that are below it, and those of the other piece; of equals (NOTHING), behind
// those of the left piece.
KERNEL(embedding_merge, 256, 8, const u64* keys, u64* other, int total, int width) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total) return;
  const int left = (int)(i / width / 2 * 2 * (i64)width), right = total - left > width ? left + width : total;
  const int end = total - right > width ? right + width : total;
  const bool is_left = i < right;
  const u64 x = keys[i];
  const int before = is_left ? count_below(keys + right, end - right, x, false)
                             : count_below(keys + left, right - left, x, true) - (right - left);
  other[i + before] = x;
}

KERNEL(embedding_count_rows, 1024, 1, const u64* keys, int run, u32* heads) {
  SHARED(u32, warps);
  const int each = run / blockDim.x, begin = blockIdx.x * run + threadIdx.x * each;
  u32 total = 0;
  sum_below(count_heads(keys, begin, begin + each), warps, total);
  if (threadIdx.x == 0) heads[blockIdx.x] = total;
}

KERNEL(embedding_write_rows, 1024, 1, const u64* keys, const u32* heads, int run, i64* rows, int* starts,
       int* positions, int* count) {
  SHARED(u32, warps);  // of three sums, 32 each
  u32 mine_before = 0, mine = 0, before = 0, total = 0, here = 0;
  for (int g = threadIdx.x; g < (int)gridDim.x; g += blockDim.x) {
    mine += heads[g];
    if (g < (int)blockIdx.x) mine_before += heads[g];
  }
  sum_below(mine_before, warps, before);
  sum_below(mine, warps + 32, total);
  const int each = run / blockDim.x, begin = blockIdx.x * run + threadIdx.x * each;
  const u32 row = before + sum_below(count_heads(keys, begin, begin + each), warps + 64, here);
  write_rows(keys, begin, begin + each, gridDim.x * run, row, total, rows, starts, positions);
  if (blockIdx.x == 0 && threadIdx.x == 0) *count = (int)total;
}

KERNEL(embedding_sum, 256, 4, const float* dy, const i64* rows, const int* starts, const int* positions,
       const int* count, float* values, int E, int dense) {
  const int k = blockIdx.x;
  if (k >= *count) return;
  float* out = values + (size_t)(dense ? rows[k] : k) * E;
  for (int e = threadIdx.x; e < E; e += blockDim.x) {
    float sum = 0;
#pragma unroll 16  // loads in flight: the commonest word has hundreds of tokens, added one by one
    for (int i = starts[k]; i < starts[k + 1]; i++) sum += dy[(size_t)positions[i] * E + e];
    out[e] = sum;
  }
}
