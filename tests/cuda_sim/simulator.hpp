// Runs a CUDA kernel on one CPU core so that its real source can be tested without a GPU.
//
// Every CUDA thread is a fiber with its own stack. A fiber runs until it must wait (warp collective, __syncthreads,
// grid barrier, spin wait), then the scheduler picks another one. Nothing else ever interrupts a fiber, so a schedule
// is a pure function of `order`: 0 and 1 are fair (round-robin, upwards and downwards); every order >= 2 is a seed for
// an unfair one, in which a warp runs as far as it can before another one gets a turn. Odd seeds pick the next warp at
// random; even seeds rank the warps, so that the last ones starve until nobody else can move (as in "probabilistic
// concurrency testing"). A missing barrier often survives the fair schedules and dies in the unfair ones.
//
// Reported as errors: deadlock; a barrier some threads never reach because they have returned; threads of a block that
// meet at different barriers; misaligned 16-byte accesses; asynchronous copies outside shared memory; writes past the
// end of shared memory. Shared memory starts as 0xFF bytes, which is NaN as float and as bf16.
//
// Not modelled: memory ordering (this machine is sequentially consistent), bank conflicts, occupancy, and a second
// block resident on the same SM. Data races show only if some schedule makes them visible.
#pragma once
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };

namespace simulation {

enum Wait { RUN, WARP, BLOCK, GRID, POLL };  // what a fiber waits for; RUN: nothing

struct Launch {  // mirrored in harness.py
  unsigned grid[3], block[3], shared_bytes;
  int coresident;  // 1: all blocks run at once (cooperative launch); 0: one block after another; 2: as 1, and instead of
                   // reporting a deadlock, threads that spin in vain give up, as they do on a device after SPIN_LIMIT
  int order;       // schedule
  unsigned arguments;  // how many the caller gives
};

struct Copy { void* to; const void* from; };

struct Fiber {
  ucontext_t start;           // used for the first entry only
  jmp_buf resume;             // later switches: no system call, 20 times faster than swapcontext
  bool started = false, done = false;
  Wait wait = RUN;
  int line = 0;               // source line of the barrier it waits at
  dim3 thread, block;
  unsigned slot_of_block = 0, lane = 0;
  uint64_t mailbox[2][3];     // operands of warp collectives; two, so that one barrier per collective is enough
  unsigned collectives = 0;
  std::vector<Copy> copies;   // cp.async in flight: they land when the thread waits for them, not before
  std::vector<size_t> batches;  // how many of them had been started at each commit
};

#ifdef __SANITIZE_ADDRESS__
constexpr size_t STACK = 256 << 10, CANARY = 0;  // AddressSanitizer sees the end of shared memory itself
#else
constexpr size_t STACK = 32 << 10, CANARY = 64;
#endif

class Simulator {
 public:
  Fiber* me = nullptr;
  dim3 grid, block;
  bool given_up = false;  // threads that spin in vain are not to wait any longer

  void run(const Launch& launch, void (*call)(void*), void* arguments) {
    grid = {launch.grid[0], launch.grid[1], launch.grid[2]};
    block = {launch.block[0], launch.block[1], launch.block[2]};
    call_ = call, arguments_ = arguments, order_ = launch.order, shared_bytes_ = launch.shared_bytes;
    threads_ = block.x * block.y * block.z;
    const unsigned blocks = grid.x * grid.y * grid.z, together = launch.coresident ? blocks : 1;
    impatient_ = launch.coresident == 2, given_up = false;
    random_.seed(launch.order);
    if (threads_ % 32) throw std::runtime_error("block size is not a multiple of 32");
    for (unsigned first = 0; first < blocks; first += together) run_blocks(first, together);
  }

  // Called by a fiber: give up the core until the reason is gone.
  void pause(Wait why, int line = 0) {
    me->wait = why, me->line = line;
    to_scheduler();
  }
  // Called by a fiber: stop the launch with an error.
  void fail(const std::string& text) { error_ = text; to_scheduler(); }

  char* shared() { return shared_[me->slot_of_block].data(); }
  bool is_shared(const void* p, size_t bytes) {
    return (const char*)p >= shared() && (const char*)p + bytes <= shared() + shared_bytes_;
  }
  // Post three words, wait until all 32 lanes have done so, and return which mailbox to read theirs from with lane().
  unsigned exchange(uint64_t a, uint64_t b = 0, uint64_t c = 0) {
    const unsigned box = me->collectives++ & 1;
    me->mailbox[box][0] = a, me->mailbox[box][1] = b, me->mailbox[box][2] = c;
    pause(WARP, -1);
    return box;
  }
  const uint64_t* lane(unsigned other, unsigned box) { return me[(int)other - (int)me->lane].mailbox[box]; }

 private:
  void run_blocks(unsigned first, unsigned count) {
    const size_t total = size_t(count) * threads_;
    static char* stacks = nullptr;  // address space only: pages are taken when first touched
    static size_t reserved = 0;
    if (reserved < total) {
      if (stacks) munmap(stacks, reserved * STACK);
      const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
      stacks = (char*)mmap(nullptr, total * STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
      if (stacks == MAP_FAILED) throw std::runtime_error("no address space for the stacks");
      reserved = total;
    }
    shared_ = std::vector<std::vector<char>>(count, std::vector<char>(shared_bytes_ + CANARY, char(0xFF)));
    fibers_ = std::vector<Fiber>(total);
    error_.clear();
    for (size_t i = 0; i < total; i++) {
      Fiber& f = fibers_[i];
      const unsigned t = i % threads_, b = first + i / threads_;
      f.thread = {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
      f.block = {b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y)};
      f.slot_of_block = i / threads_, f.lane = t % 32;
      getcontext(&f.start);
      f.start.uc_stack.ss_sp = stacks + i * STACK, f.start.uc_stack.ss_size = STACK, f.start.uc_link = nullptr;
      makecontext(&f.start, (void (*)())entry, 2, unsigned(uintptr_t(this)), unsigned(uintptr_t(this) >> 32));
    }
    schedule(count);
    for (const auto& memory : shared_)
      for (size_t i = 0; i < CANARY; i++)
        if (memory[shared_bytes_ + i] != char(0xFF)) throw std::runtime_error("write past the end of shared memory");
  }

  void schedule(unsigned blocks) {
    const unsigned per_block = threads_ / 32, warps = blocks * per_block;
    size_t left = fibers_.size();
    begin_order(warps);
    for (unsigned warp = first_warp_, idle = 0; left;) {
      const size_t lo = size_t(warp) * 32, hi = lo + 32, block_lo = warp / per_block * threads_;
      const bool downwards = order_ >= 2 ? random_() & 1 : order_ == 1;
      bool moved = false;
      for (unsigned k = 0; k < 32; k++) {
        Fiber& f = fibers_[downwards ? hi - 1 - k : lo + k];
        if (f.done || (f.wait != RUN && f.wait != POLL)) continue;  // a spinning thread looks again
        f.wait = RUN;
        resume(f);
        if (!error_.empty()) throw std::runtime_error(error_);
        left -= f.done;
        moved |= f.done || f.wait != POLL;
      }
      moved |= release(lo, hi, WARP) | release(block_lo, block_lo + threads_, BLOCK) | release(0, fibers_.size(), GRID);
      idle = moved ? 0 : idle + 1;
      if (idle > 64 * warps) {
        if (!impatient_ || given_up) throw std::runtime_error("deadlock: " + waiting());
        given_up = true, idle = 0;
      }
      warp = next_warp(warp, warps, moved);
    }
  }

  void begin_order(unsigned warps) {
    ranking_.resize(warps);
    for (unsigned i = 0; i < warps; i++) ranking_[i] = i;
    std::shuffle(ranking_.begin(), ranking_.end(), random_);
    rank_ = 0, progressed_ = false;
    first_warp_ = order_ == 0 ? 0 : order_ == 1 ? warps - 1 : ranking_[0];
  }
  unsigned next_warp(unsigned warp, unsigned warps, bool moved) {
    if (order_ == 0) return (warp + 1) % warps;
    if (order_ == 1) return (warp + warps - 1) % warps;
    if (moved) {  // unfair: stay while it gets on
      progressed_ = true;
      return warp;
    }
    if (order_ % 2) return random_() % warps;  // odd seeds: any warp
    if (!progressed_) return ranking_[rank_ = (rank_ + 1) % warps];
    // Even seeds: back to the top of the ranking, so the last ones starve; now and then the warp that just ran drops to
    // the end.
    if (random_() % 16 == 0) std::rotate(ranking_.begin() + rank_, ranking_.begin() + rank_ + 1, ranking_.end());
    progressed_ = false;
    return ranking_[rank_ = 0];
  }

  // Opens a barrier when every living thread of the range waits at it.
  bool release(size_t lo, size_t hi, Wait why) {
    size_t alive = 0;
    for (size_t i = lo; i < hi; i++) {
      if (fibers_[i].done) continue;
      if (fibers_[i].wait != why) return false;
      alive++;
    }
    if (!alive) return false;
    if (alive != hi - lo) throw std::runtime_error("barrier with exited threads");
    for (size_t i = lo; i < hi; i++) {
      if (fibers_[i].line != fibers_[lo].line)
        throw std::runtime_error("threads meet at different barriers, lines " + std::to_string(fibers_[lo].line) +
                                 " and " + std::to_string(fibers_[i].line));
      fibers_[i].wait = RUN;
    }
    return true;
  }

  std::string waiting() {
    size_t n[5] = {}, done = 0;
    for (const Fiber& f : fibers_) f.done ? done++ : n[f.wait]++;
    auto text = [](size_t count) { return std::to_string(count); };
    return text(n[WARP]) + " threads wait for their warp, " + text(n[BLOCK]) + " for their block, " + text(n[GRID]) +
           " for the grid, " + text(n[POLL]) + " spin, " + text(done) + " returned";
  }

  __attribute__((noinline)) void resume(Fiber& f) {
    me = &f;
#ifdef __SANITIZE_ADDRESS__
    f.started = true;
    swapcontext(&scheduler_context_, &f.start);  // slower, but understood by AddressSanitizer
#else
    if (_setjmp(scheduler_)) return;
    if (f.started) _longjmp(f.resume, 1);
    f.started = true;
    setcontext(&f.start);
#endif
  }
  __attribute__((noinline)) void to_scheduler() {
#ifdef __SANITIZE_ADDRESS__
    swapcontext(&me->start, &scheduler_context_);
#else
    if (!_setjmp(me->resume)) _longjmp(scheduler_, 1);
#endif
  }
  static void entry(unsigned low, unsigned high) {
    Simulator* s = (Simulator*)(uintptr_t(high) << 32 | low);
    s->call_(s->arguments_);
    s->me->done = true;
    s->to_scheduler();
  }

  void (*call_)(void*) = nullptr;
  void* arguments_ = nullptr;
  int order_ = 0;
  unsigned threads_ = 0, shared_bytes_ = 0;
  unsigned first_warp_ = 0, rank_ = 0;
  bool progressed_ = false, impatient_ = false;
  std::vector<unsigned> ranking_;
  std::string error_;
  std::mt19937 random_;
  std::vector<Fiber> fibers_;
  std::vector<std::vector<char>> shared_;
  jmp_buf scheduler_;
  ucontext_t scheduler_context_;
};

static Simulator sim;  // not inline: libraries loaded side by side must not share it
static std::string last_error;

// Calls kernel(args...) in every fiber. `args` has one pointer per parameter, as in cuLaunchKernel.
template <class... P, size_t... I>
int launch(void (*kernel)(P...), const Launch* how, void** args, std::index_sequence<I...>) {
  if (how->arguments != sizeof...(P)) {
    last_error = std::to_string(how->arguments) + " arguments; expected " + std::to_string(sizeof...(P));
    return 1;
  }
  auto body = [=] { kernel(*(P*)args[I]...); };
  try {
    sim.run(*how, [](void* f) { (*(decltype(body)*)f)(); }, &body);
    return 0;
  } catch (const std::exception& e) {
    last_error = e.what();
    return 1;
  }
}
template <class... P>
int launch(void (*kernel)(P...), const Launch* how, void** args) {
  return launch(kernel, how, args, std::index_sequence_for<P...>());
}
}  // namespace simulation

extern "C" const char* sim_error() { return simulation::last_error.c_str(); }

#define threadIdx (simulation::sim.me->thread)
#define blockIdx (simulation::sim.me->block)
#define blockDim (simulation::sim.block)
#define gridDim (simulation::sim.grid)
#define __syncthreads() simulation::sim.pause(simulation::BLOCK, __LINE__)
