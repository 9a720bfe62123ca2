// What a search does with the best words of each row: greedy or with a beam, all sentences at once, without the host.
//
// There are S slots of K rows each (greedy: K = 1); a slot holds a sentence, its first going[s] rows are hypotheses
// that go on, best first. Slots change place only in `compact_slots`, so results and history are kept by sentence.
//
//   owner, going [S] i32      the sentence of a slot, and how many rows of it go on; 0: it is done
//   words, parents [S*K] i32  for the next step: what a row says, and the row of this step that it continues
//   totals [S*K] f64          log p of the rows that go on
//   step [1] i32              this step's number, from 0, in device memory: a captured graph needs no new arguments
//   log_probs [S*K,K] f32, candidates [S*K,K] i32    what rank_words found for each row
//
// greedy_select:  -> said [N,T] i64 (others left alone), lengths [N] i64, log_p [N] f64 (added to; NaN where no word
//                 was left). grid ceil(S / 256), 256 threads
// beam_select:    the K best extensions of a sentence's rows, equal ones in the order of row and word, end or become
//                 its rows. grid ceil(S / 4), 128 threads: a warp per slot; shared 48 * K bytes
//   history [T,N,K,2] i32   -> what the k-th row of a sentence said at a step, and which of its rows it continued
//   scores, log_p [N,B] f64, found [N,B,3] i32, counts [N] i32: in place, the B best hypotheses that have ended; the
//                              score is total / divisors[length]; found: its step, the row that it continued, its word
//   divisors [T+1] f64         length ** length_penalty; longest: the length by which one going on could profit most
// compact_slots:  moves slots that go on to the front, keeping their order; *alive = how many.
//                 grid 1, up to 1024 threads, shared 128 bytes
// beam_collect:   -> words [N,B,T] i64, -1 behind them, lengths [N,B] i64; log_p, scores = 0 where nothing was found.
//                 grid ceil(N*B / 128), 128 threads
//
// Oracle: kernels/reference/decoding.py.
#include "runtime/sums.cuh"

DEVICE double none() { return -(double)bits_to_float(0x7F800000u); }

KERNEL(greedy_select, 256, 4, const float* log_probs, const int* candidates, const int* owner, int* going, int* words,
       int* parents, const int* step, i64* said, i64* lengths, double* log_p, int S, int T, int end) {
  const int s = blockIdx.x * blockDim.x + threadIdx.x;
  if (s >= S || going[s] == 0) return;
  const int n = owner[s], word = candidates[s], t = *step;
  const double gain = log_probs[s];
  log_p[n] += gain > none() ? gain : (double)bits_to_float(0x7FC00000u);
  if (!(gain > none()) || word == end) {
    going[s] = 0;
    return;
  }
  said[(size_t)n * T + t] = word;
  lengths[n] = t + 1;
  words[s] = word, parents[s] = s;
}

// A hypothesis: its total, the row of the slot that it continues, and what it says.
struct Extension {
  double total;
  int row, word;
};

// The best over the warp, in each lane; lanes hold different rows.
DEVICE Extension best_of_warp(Extension mine) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const Extension other = {shuffle_xor(mine.total, mask), shuffle_xor(mine.row, mask), shuffle_xor(mine.word, mask)};
    if (other.total > mine.total || (other.total == mine.total && other.row < mine.row)) mine = other;
  }
  return mine;
}

// A sentence's best hypotheses that have ended, best first.
struct Ended {
  double *scores, *log_p;
  int *found, *count;
  int B;
};

// Keep one if it is among the B best; behind its equals.
DEVICE void keep(const Ended& ended, const Extension& e, double score, int step) {
  const int count = *ended.count;
  if (!(score > none()) || (count == ended.B && !(score > ended.scores[count - 1]))) return;
  int place = count < ended.B ? count : ended.B - 1;
  *ended.count = place + 1 > count ? place + 1 : count;
  for (; place > 0 && score > ended.scores[place - 1]; place--) {
    ended.scores[place] = ended.scores[place - 1], ended.log_p[place] = ended.log_p[place - 1];
    for (int i = 0; i < 3; i++) ended.found[place * 3 + i] = ended.found[place * 3 - 3 + i];
  }
  ended.scores[place] = score, ended.log_p[place] = e.total;
  ended.found[place * 3] = step, ended.found[place * 3 + 1] = e.row, ended.found[place * 3 + 2] = e.word;
}

KERNEL(beam_select, 128, 4, const float* log_probs, const int* candidates, const int* owner, int* going,
       double* totals, int* words, int* parents, const int* step, int* history, double* scores, double* log_p,
       int* found, int* counts, const double* divisors, int S, int K, int N, int T, int B, int end, int longest) {
  SHARED(double, next);  // [4 warps][K] totals of new rows, then [4][K] how many candidates of each row are taken
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, s = blockIdx.x * 4 + warp;
  if (s >= S || going[s] == 0) return;
  int* taken = (int*)(next + 4 * K) + warp * K;  // of row r: read and written by lane r % 32 only
  next += warp * K;                              // by lane 0 only
  const int rows = going[s], n = owner[s], t = *step, first = s * K;
  const Ended ended = {scores + (size_t)n * B, log_p + (size_t)n * B, found + (size_t)n * B * 3, counts + n, B};
  int* said = history + (((size_t)t * N + n) * K) * 2;
  for (int r = lane; r < rows; r += 32) taken[r] = 0;
  int count = 0;
  for (int k = 0; k < K; k++) {
    Extension best = {none(), K, 0};
    for (int r = lane; r < rows; r += 32) {
      if (taken[r] == K) continue;
      const size_t at = (size_t)(first + r) * K + taken[r];
      const double total = totals[first + r] + log_probs[at];
      if (total > best.total) best = {total, r, candidates[at]};
    }
    best = best_of_warp(best);
    if (!(best.total > none())) break;
    if (lane == best.row % 32) taken[best.row]++;
    if (lane > 0) continue;
    if (best.word == end || t + 1 == T) {
      keep(ended, best, best.total / divisors[t + 1], t);
      continue;
    }
    words[first + count] = best.word, parents[first + count] = first + best.row;
    said[count * 2] = best.word, said[count * 2 + 1] = best.row;
    next[count++] = best.total;
  }
  if (lane > 0) return;
  const bool settled = count > 0 && *ended.count == B && ended.scores[B - 1] >= next[0] / divisors[longest];
  going[s] = settled ? 0 : count;
  for (int k = 0; k < count; k++) totals[first + k] = next[k];
}

KERNEL(compact_slots, 1024, 1, int* owner, int* going, double* totals, int* words, int* parents, int S, int K,
       int* alive) {
  SHARED(u32, warps);
  int filled = 0;
  for (int piece = 0; piece < S; piece += blockDim.x) {
    const int from = piece + threadIdx.x;
    const int rows = from < S ? going[from] : 0, sentence = from < S ? owner[from] : 0;
    u32 here;
    const int to = filled + (int)sum_below(rows > 0, warps, here);
    if (rows > 0) owner[to] = sentence, going[to] = rows;
    for (int k = 0; k < K; k++) {
      double total = 0;
      int word = 0, parent = 0;
      if (k < rows) total = totals[from * K + k], word = words[from * K + k], parent = parents[from * K + k];
      __syncthreads();  // the k-th rows of this piece are read, and the warps' counts
      if (k < rows) totals[to * K + k] = total, words[to * K + k] = word, parents[to * K + k] = parent;
    }
    filled += here;
  }
  for (int s = filled + threadIdx.x; s < S; s += blockDim.x) going[s] = 0;
  if (threadIdx.x == 0) *alive = filled;
}

KERNEL(beam_collect, 128, 4, const int* history, const int* found, const int* counts, double* scores, double* log_p,
       i64* words, i64* lengths, int N, int K, int T, int B, int end) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= N * B) return;
  const int n = at / B;
  i64* out = words + (size_t)at * T;
  int length = 0;
  if (at % B < counts[n]) {
    const int *last = found + (size_t)at * 3, t = last[0];
    length = t + (last[2] != end);
    if (last[2] != end) out[t] = last[2];
    int row = last[1];
    for (int earlier = t - 1; earlier >= 0; earlier--) {
      const int* said = history + (((size_t)earlier * N + n) * K + row) * 2;
      out[earlier] = said[0], row = said[1];
    }
  } else {
    scores[at] = 0, log_p[at] = 0;
  }
  for (int t = length; t < T; t++) out[t] = -1;
  lengths[at] = length;
}
