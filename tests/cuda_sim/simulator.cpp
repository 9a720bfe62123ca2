// The scheduler of the simulator, see simulator.hpp, and how it starts a kernel.
#include "simulator.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>

namespace simulation {

Simulator sim;

namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t STACK = 256 << 10, CANARY = 0;  // AddressSanitizer sees the end of shared memory itself
#else
constexpr size_t STACK = 32 << 10, CANARY = 64;
#endif

class Scheduler {
 public:
  void run(const Launch& launch, void (*call)(void*), void* kernel) {
    sim.grid = {launch.grid[0], launch.grid[1], launch.grid[2]};
    sim.block = {launch.block[0], launch.block[1], launch.block[2]};
    call_ = call, kernel_ = kernel, order_ = launch.order, sim.shared_bytes = launch.shared_bytes;
    threads_ = sim.block.x * sim.block.y * sim.block.z;
    const unsigned blocks = sim.grid.x * sim.grid.y * sim.grid.z, together = launch.coresident ? blocks : 1;
    impatient_ = launch.coresident == 2, sim.given_up = false;
    random_.seed(launch.order);
    if (threads_ % 32) throw std::runtime_error("block size is not a multiple of 32");
    for (unsigned first = 0; first < blocks; first += together) run_blocks(first, together);
  }

  // Called by a fiber: stop the launch with an error.
  void fail(const char* text) { error_ = text; back(); }
  // Called by a fiber: let another one run.
  __attribute__((noinline)) void back() {
#ifdef __SANITIZE_ADDRESS__
    swapcontext(&sim.me->start, &scheduler_context_);
#else
    if (!_setjmp(sim.me->resume)) _longjmp(scheduler_, 1);
#endif
  }

 private:
  void run_blocks(unsigned first, unsigned count) {
    total_ = size_t(count) * threads_;
    if (total_ > fibers_.size()) make_fibers();
    if (interrupted_)
      for (Fiber& f : fibers_) f.started = false;  // they hang in the middle of a kernel
    shared_ = std::vector<std::vector<char>>(count, std::vector<char>(sim.shared_bytes + CANARY, char(0xFF)));
    error_.clear();
    for (size_t i = 0; i < total_; i++) {
      Fiber& f = fibers_[i];
      const unsigned t = i % threads_, b = first + i / threads_;
      f.thread = {t % sim.block.x, t / sim.block.x % sim.block.y, t / (sim.block.x * sim.block.y)};
      f.block = {b % sim.grid.x, b / sim.grid.x % sim.grid.y, b / (sim.grid.x * sim.grid.y)};
      f.shared = shared_[i / threads_].data(), f.lane = t % 32;
      f.done = false, f.wait = RUN, f.collectives = 0;
      f.copies.clear(), f.batches.clear();
    }
    interrupted_ = true;
    schedule(count);
    interrupted_ = false;
    for (const auto& memory : shared_)
      for (size_t i = 0; i < CANARY; i++)
        if (memory[sim.shared_bytes + i] != char(0xFF)) throw std::runtime_error("write past the end of shared memory");
  }

  // Fibers stay for the next launches: to start one takes two system calls, to go on with it none.
  void make_fibers() {
    if (stacks_) munmap(stacks_, fibers_.size() * STACK);
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;  // address space: pages are taken when first touched
    stacks_ = (char*)mmap(nullptr, total_ * STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
    fibers_.clear();
    if (stacks_ == MAP_FAILED) {
      stacks_ = nullptr;
      throw std::runtime_error("no address space for the stacks");
    }
    fibers_.resize(total_);
  }
  void start(Fiber& f) {
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = stacks_ + (&f - fibers_.data()) * STACK, f.start.uc_stack.ss_size = STACK;
    f.start.uc_link = nullptr;
    makecontext(&f.start, (void (*)())entry, 2, unsigned(uintptr_t(this)), unsigned(uintptr_t(this) >> 32));
    f.started = true;
  }

  void schedule(unsigned blocks) {
    const unsigned per_block = threads_ / 32, warps = blocks * per_block;
    size_t left = total_;
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
      moved |= release(lo, hi, WARP) | release(block_lo, block_lo + threads_, BLOCK) | release(0, total_, GRID);
      idle = moved ? 0 : idle + 1;
      if (idle > 64 * warps) {
        if (!impatient_ || sim.given_up) throw std::runtime_error("deadlock: " + waiting());
        sim.given_up = true, idle = 0;
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
    for (size_t i = 0; i < total_; i++) fibers_[i].done ? done++ : n[fibers_[i].wait]++;
    auto text = [](size_t count) { return std::to_string(count); };
    return text(n[WARP]) + " threads wait for their warp, " + text(n[BLOCK]) + " for their block, " + text(n[GRID]) +
           " for the grid, " + text(n[POLL]) + " spin, " + text(done) + " returned";
  }

  __attribute__((noinline)) void resume(Fiber& f) {
    const bool fresh = !f.started;
    sim.me = &f;
    if (fresh) start(f);
#ifdef __SANITIZE_ADDRESS__
    swapcontext(&scheduler_context_, &f.start);  // slower, but understood by AddressSanitizer
#else
    if (_setjmp(scheduler_)) return;
    if (fresh) setcontext(&f.start);
    _longjmp(f.resume, 1);
#endif
  }
  static void entry(unsigned low, unsigned high) {
    Scheduler* s = (Scheduler*)(uintptr_t(high) << 32 | low);
    for (;;) {
      s->call_(s->kernel_);
      sim.me->done = true;
      s->back();
    }
  }

  void (*call_)(void*) = nullptr;
  void* kernel_ = nullptr;
  int order_ = 0;
  unsigned threads_ = 0;
  unsigned first_warp_ = 0, rank_ = 0;
  bool progressed_ = false, impatient_ = false;
  std::vector<unsigned> ranking_;
  std::string error_;
  std::mt19937 random_;
  bool interrupted_ = false;  // a launch ended before its fibers did
  char* stacks_ = nullptr;
  std::vector<Fiber> fibers_;
  size_t total_ = 0;  // of them take part
  std::vector<std::vector<char>> shared_;
  jmp_buf scheduler_;
  ucontext_t scheduler_context_;
};

Scheduler scheduler;
std::string last_error;

}  // namespace

void Simulator::fail(const char* text) { scheduler.fail(text); }
void Simulator::to_scheduler() { scheduler.back(); }

int run(const Launch& how, unsigned expected, void (*call)(void*), void* kernel) {
  try {
    if (how.arguments != expected)
      throw std::runtime_error(std::to_string(how.arguments) + " arguments; expected " + std::to_string(expected));
    scheduler.run(how, call, kernel);
    return 0;
  } catch (const std::exception& e) {
    last_error = e.what();
    return 1;
  }
}
}  // namespace simulation

// All else of this file is hidden (see harness.py): libraries loaded side by side must not share it.
extern "C" __attribute__((visibility("default"))) const char* sim_error() { return simulation::last_error.c_str(); }
