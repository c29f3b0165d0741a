// The deep–shallow memory on the CPU, token by token, with the states of a set and head in the cache.
//
// A state is [key channels, value channels]. What happens in one value channel depends on no other: they are worked on
// in blocks of a few registers, and a row of a state is one block. Only slots that take or give something are touched;
// that all of them fade is one number a slot, which is multiplied in when the slot is written again. The way back
// begins at states that were kept every so many tokens, goes forward once more from there, this time keeping what every
// token found, and then back through it. Sets and heads are shared out between threads; none of them looks at another.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "exponential.h"

// What a kernel is called with; `delta_memory.py` has the same fields in the same order.
struct MemoryProblem {
  std::int64_t doubles, threads;          // float64 instead of float32
  std::int64_t sets, heads, channels, slots;
  std::int64_t segment;                   // tokens from one kept state to the next; 0 keeps none
  const std::int64_t* ptr;                // [sets + 1]
  const void *query, *key, *value;        // [tokens, heads, channels], heads side by side, tokens apart by a stride
  std::int64_t query_stride, key_stride, value_stride;
  const void *log_keep, *write, *deep_log_keep, *deep_write;  // [tokens, heads]
  const void *take, *read;                // [tokens, heads, slots]
  const void *shallow, *deep;             // [sets, heads, (slots,) channels, channels] before the first token
  void* kept;                             // [tokens / segment, heads, (1 + slots) channels² + slots]
  void *out, *shallow_after, *deep_after;
  const void *grad_out, *grad_shallow, *grad_deep;  // of those three; null for zeros
  void *to_query, *to_key, *to_value, *to_log_keep, *to_write, *to_deep_log_keep, *to_deep_write, *to_take, *to_read;
  void *to_shallow, *to_deep;
};

namespace {

#if !defined(STRUCTFORMER_REGISTER) && defined(__AVX512F__)
#define STRUCTFORMER_REGISTER 64
#elif !defined(STRUCTFORMER_REGISTER)
#define STRUCTFORMER_REGISTER 32
#endif

// Registers of a block at most: as many again for what is summed up, and some to spare, are all there are.
constexpr std::int64_t kBlock = 4;

template <typename T>
struct Register {
  typedef T type __attribute__((vector_size(STRUCTFORMER_REGISTER)));
  static constexpr std::int64_t size = STRUCTFORMER_REGISTER / sizeof(T);
};

template <typename T>
inline T total(const typename Register<T>::type& x) {
  T sum = 0;
  for (std::int64_t lane = 0; lane < Register<T>::size; ++lane) sum += x[lane];
  return sum;
}

// A row of a block of a state, or anything else that has a number for each of its value channels.
template <typename T, int N>
struct Row {
  using Part = typename Register<T>::type;
  Part part[N];

  void clear() {
    for (int n = 0; n < N; ++n) part[n] = Part{};
  }
  // Add weight · x.
  void add(T weight, const Row& x) {
    for (int n = 0; n < N; ++n) part[n] += weight * x.part[n];
  }
  // Add to `sum` what adds up to weight · ⟨this, x⟩.
  void dot(T weight, const Row& x, Part& sum) const {
    Part own = part[0] * x.part[0];
    for (int n = 1; n < N; ++n) own += part[n] * x.part[n];
    sum += weight * own;
  }
  T dot(const Row& x) const {
    Part sum{};
    dot(T(1), x, sum);
    return total<T>(sum);
  }
  // The last block may be wider than what is left of the channels: zeros stand there, and stay.
  void load(const T* from, std::int64_t width) {
    clear();
    std::memcpy(part, from, width * sizeof(T));
  }
  void store(T* to, std::int64_t width) const { std::memcpy(to, part, width * sizeof(T)); }
};

// What a token says to a head.
template <typename T>
struct Token {
  const T *query, *key, *take, *read;
  T keep, write, deep_keep, deep_write;

  Token(const MemoryProblem& p, std::int64_t token, std::int64_t head) {
    const std::int64_t place = token * p.heads + head, channel = head * p.channels;
    query = static_cast<const T*>(p.query) + token * p.query_stride + channel;
    key = static_cast<const T*>(p.key) + token * p.key_stride + channel;
    take = static_cast<const T*>(p.take) + place * p.slots;
    read = static_cast<const T*>(p.read) + place * p.slots;
    keep = std::exp(static_cast<const T*>(p.log_keep)[place]);
    write = static_cast<const T*>(p.write)[place];
    deep_keep = p.slots ? std::exp(static_cast<const T*>(p.deep_log_keep)[place]) : T(1);
    deep_write = p.slots ? static_cast<const T*>(p.deep_write)[place] : T(0);
  }
};

// States of a head at some time; slot m is scale[m] times what stands at deep[m].
template <typename T, int N>
struct States {
  Row<T, N>*& shallow;
  Row<T, N>** deep;
  T* scale;
};

// Which value channels a pass is about.
struct Block {
  std::int64_t first, width;
};

// heard = Σ x_i state_i
template <typename T, int N>
inline void hear(std::int64_t channels, const T* x, const Row<T, N>* state, Row<T, N>& heard) {
  // Two sums, so that an addition need not wait for the last.
  Row<T, N> other;
  heard.clear();
  other.clear();
  std::int64_t i = 0;
  for (; i + 1 < channels; i += 2) {
    heard.add(x[i], state[i]);
    other.add(x[i + 1], state[i + 1]);
  }
  if (i < channels) heard.add(x[i], state[i]);
  heard.add(T(1), other);
}

// to = keep · from + weight · key xᵀ; and what the query then hears, if it is asked.
template <bool Reads, typename T, int N>
inline void rewrite(std::int64_t channels, T keep, const Row<T, N>* from, T weight, const T* key, const Row<T, N>& x,
                    Row<T, N>* to, const T* query, Row<T, N>& heard) {
  Row<T, N> even, odd;
  even.clear();
  odd.clear();
  const auto one = [&](std::int64_t i, Row<T, N>& sum) {
    Row<T, N> row;
    row.clear();
    row.add(keep, from[i]);
    row.add(weight * key[i], x);
    to[i] = row;
    if (Reads) sum.add(query[i], row);
  };
  std::int64_t i = 0;
  for (; i + 1 < channels; i += 2) {
    one(i, even);
    one(i + 1, odd);
  }
  if (i < channels) one(i, even);
  if (Reads) {
    even.add(T(1), odd);
    heard = even;
  }
}

// Read a token: r, e and, for slots that take something, what these said of the key (`known`); then the states after
// it, in the place that `room` gives for one that changes, and what the query hears, if it is asked.
template <bool Reads, typename T, int N, typename Room>
inline void advance(const MemoryProblem& p, const Token<T>& token, const States<T, N>& before,
                    const States<T, N>& after, Row<T, N>& residual, Row<T, N>& error, Row<T, N>* known, Room room,
                    Row<T, N>& out) {
  Row<T, N> heard;
  hear(p.channels, token.key, before.shallow, heard);
  residual.add(T(-1), heard);
  Row<T, N>* to = room(before.shallow);
  rewrite<Reads>(p.channels, token.keep, before.shallow, token.write, token.key, residual, to, token.query, out);
  after.shallow = to;
  error = residual;
  for (std::int64_t m = 0; m < p.slots; ++m)
    if (token.take[m] != 0) {
      hear(p.channels, token.key, before.deep[m], heard);
      known[m].clear();
      known[m].add(before.scale[m], heard);
      error.add(-token.take[m], known[m]);
    }
  for (std::int64_t m = 0; m < p.slots; ++m) {
    Row<T, N>* from = before.deep[m];
    const T keep = before.scale[m] * token.deep_keep;
    const bool reads = Reads && token.read[m] != 0;
    T share = reads ? token.read[m] : T(0);
    if (token.take[m] != 0) {
      to = room(from);
      const T weight = token.take[m] * token.deep_write;
      if (reads)
        rewrite<true>(p.channels, keep, from, weight, token.key, error, to, token.query, heard);
      else
        rewrite<false>(p.channels, keep, from, weight, token.key, error, to, token.query, heard);
      after.deep[m] = to;
      after.scale[m] = 1;
    } else {
      after.deep[m] = from;
      after.scale[m] = keep;
      share *= keep;
      if (reads) hear(p.channels, token.query, from, heard);
    }
    if (reads) out.add(share, heard);
  }
}

// Where the numbers of a set and head stand in a tensor of states.
template <typename T>
inline T* at(const void* states, std::int64_t task, std::int64_t size) {
  return static_cast<T*>(const_cast<void*>(states)) + task * size;
}

template <typename T, int N>
inline void load(const MemoryProblem& p, const Block& block, const T* from, Row<T, N>* state) {
  for (std::int64_t i = 0; i < p.channels; ++i) state[i].load(from + i * p.channels + block.first, block.width);
}

template <typename T, int N>
inline void store(const MemoryProblem& p, const Block& block, const Row<T, N>* state, T* to, T scale = 1) {
  Row<T, N> row;
  for (std::int64_t i = 0; i < p.channels; ++i) {
    row.clear();
    row.add(scale, state[i]);
    row.store(to + i * p.channels + block.first, block.width);
  }
}

// The states before the token at which a segment begins. Segments of all sets find room in tokens / segment places, as
// the first of a set begins with what the caller gave.
template <typename T>
inline T* kept(const MemoryProblem& p, std::int64_t begin, std::int64_t number, std::int64_t head) {
  const std::int64_t size = (1 + p.slots) * p.channels * p.channels + p.slots;
  return static_cast<T*>(p.kept) + ((begin / p.segment + number - 1) * p.heads + head) * size;
}

template <typename T, int N>
void forward(const MemoryProblem& p, const Block& block) {
  const std::int64_t square = p.channels * p.channels;
#pragma omp parallel num_threads(p.threads)
  {
    std::vector<Row<T, N>> rows((1 + p.slots) * p.channels), known(p.slots);
    std::vector<Row<T, N>*> deep(p.slots);
    std::vector<T> scale(p.slots);
    Row<T, N>* shallow = rows.data();
    for (std::int64_t m = 0; m < p.slots; ++m) deep[m] = shallow + (1 + m) * p.channels;
    const States<T, N> states{shallow, deep.data(), scale.data()};
#pragma omp for schedule(dynamic)
    for (std::int64_t task = 0; task < p.sets * p.heads; ++task) {
      const std::int64_t set = task / p.heads, head = task % p.heads, begin = p.ptr[set], end = p.ptr[set + 1];
      load(p, block, at<T>(p.shallow, task, square), shallow);
      for (std::int64_t m = 0; m < p.slots; ++m)
        load(p, block, at<T>(p.deep, task * p.slots + m, square), deep[m]);
      std::fill(scale.begin(), scale.end(), T(1));
      for (std::int64_t t = begin; t < end; ++t) {
        if (p.segment && t > begin && (t - begin) % p.segment == 0) {
          T* place = kept<T>(p, begin, (t - begin) / p.segment, head);
          for (std::int64_t m = 0; m <= p.slots; ++m)
            store(p, block, m ? deep[m - 1] : shallow, place + m * square);
          std::copy(scale.begin(), scale.end(), place + (1 + p.slots) * square);
        }
        const std::int64_t channel = head * p.channels + block.first;
        Row<T, N> residual, error, out;
        residual.load(static_cast<const T*>(p.value) + t * p.value_stride + channel, block.width);
        const auto same = [](Row<T, N>* from) { return from; };
        advance<true>(p, Token<T>(p, t, head), states, states, residual, error, known.data(), same, out);
        out.store(static_cast<T*>(p.out) + t * p.heads * p.channels + channel, block.width);
      }
      store(p, block, shallow, at<T>(p.shallow_after, task, square));
      for (std::int64_t m = 0; m < p.slots; ++m)
        store(p, block, deep[m], at<T>(p.deep_after, task * p.slots + m, square), scale[m]);
    }
  }
}

// What the tokens of a segment found: states before each of them and after the last, residuals and errors. A state that
// changes is written to a new place, so that the earlier one is still there.
template <typename T, int N>
struct Tape {
  std::int64_t channels, slots;
  std::vector<Row<T, N>> rows, residual, error, known;
  std::vector<Row<T, N>*> shallow, deep;
  std::vector<T> scale;
  Row<T, N>* next = nullptr;

  Tape(const MemoryProblem& p)
      : channels(p.channels),
        slots(p.slots),
        rows((p.segment + 1) * (1 + p.slots) * p.channels),
        residual(p.segment),
        error(p.segment),
        known(p.segment * p.slots),
        shallow(p.segment + 1),
        deep((p.segment + 1) * p.slots),
        scale((p.segment + 1) * p.slots) {}

  States<T, N> operator[](std::int64_t n) { return {shallow[n], deep.data() + n * slots, scale.data() + n * slots}; }
  Row<T, N>* room() {
    Row<T, N>* found = next;
    next += channels;
    return found;
  }

  void record(const MemoryProblem& p, const Block& block, std::int64_t task, std::int64_t begin, std::int64_t first,
              std::int64_t count) {
    const std::int64_t head = task % p.heads, square = channels * channels;
    const T* place = first == begin ? nullptr : kept<T>(p, begin, (first - begin) / p.segment, head);
    next = rows.data();
    load(p, block, place ? place : at<T>(p.shallow, task, square), shallow[0] = room());
    for (std::int64_t m = 0; m < slots; ++m) {
      const T* from = place ? place + (1 + m) * square : at<T>(p.deep, task * slots + m, square);
      load(p, block, from, deep[m] = room());
      scale[m] = place ? place[(1 + slots) * square + m] : T(1);
    }
    Row<T, N> out;
    for (std::int64_t n = 0; n < count; ++n) {
      const std::int64_t t = first + n;
      residual[n].load(static_cast<const T*>(p.value) + t * p.value_stride + head * channels + block.first,
                       block.width);
      advance<false>(p, Token<T>(p, t, head), (*this)[n], (*this)[n + 1], residual[n], error[n],
                     known.data() + n * slots, [this](Row<T, N>*) { return room(); }, out);
    }
  }
};

// Gradients of the states of a head, as the states: slot m is scale[m] times what stands at deep[m]. `fading` is
// ⟨gradient, state⟩ of each slot, its part in the gradient of log g', which stays what it is while a slot only fades.
template <typename T, int N>
struct Gradients {
  std::vector<Row<T, N>> shallow, deep, told;
  std::vector<T> scale, fading;
  std::vector<typename Register<T>::type> query, key;

  Gradients(const MemoryProblem& p)
      : shallow(p.channels),
        deep(p.slots * p.channels),
        told(p.slots),
        scale(p.slots),
        fading(p.slots),
        query(p.channels),
        key(p.channels) {}
};

// From the gradients after a token to those before it, and those of what it said. Shares of zero have none.
template <typename T, int N>
void retreat(const MemoryProblem& p, const Block& block, std::int64_t t, std::int64_t head, Tape<T, N>& tape,
             std::int64_t n, Gradients<T, N>& grad) {
  using Part = typename Register<T>::type;
  const Token<T> token(p, t, head);
  const States<T, N> before = tape[n], after = tape[n + 1];
  const Row<T, N> residual = tape.residual[n], error = tape.error[n];
  const std::int64_t channels = p.channels, slots = p.slots, place = t * p.heads + head;
  const T keep = token.deep_keep;
  // Blocks of value channels add up.
  const auto give = [&](void* to, std::int64_t where, T x) {
    T& number = static_cast<T*>(to)[where];
    number = block.first ? number + x : x;
  };
  Row<T, N> change, blamed, heard;
  if (p.grad_out)
    change.load(static_cast<const T*>(p.grad_out) + place * channels + block.first, block.width);
  else
    change.clear();
  std::fill(grad.query.begin(), grad.query.end(), Part{});
  std::fill(grad.key.begin(), grad.key.end(), Part{});

  // Of the slots: first what the query heard, and what the gradients say of the key.
  blamed.clear();
  T to_keep = 0, to_write = 0;
  for (std::int64_t m = 0; m < slots; ++m) {
    const T take = token.take[m], read = token.read[m];
    Row<T, N>* of = grad.deep.data() + m * channels;
    if (read != 0) {
      const Row<T, N>* state = after.deep[m];
      Part sum{};
      for (std::int64_t i = 0; i < channels; ++i) {
        Row<T, N> row;
        row.clear();
        row.add(grad.scale[m], of[i]);
        row.add(read * token.query[i], change);
        of[i] = row;
        Part product{};
        state[i].dot(T(1), change, product);
        grad.query[i] += read * after.scale[m] * product;
        sum += token.query[i] * product;
      }
      grad.scale[m] = 1;
      const T found = after.scale[m] * total<T>(sum);
      grad.fading[m] += read * found;
      give(p.to_read, place * slots + m, found);
    } else {
      give(p.to_read, place * slots + m, T(0));
    }
    if (take != 0) {
      Part sum{};
      hear(channels, token.key, of, heard);
      for (std::int64_t i = 0; i < channels; ++i) of[i].dot(T(1), before.deep[m][i], sum);
      grad.told[m].clear();
      grad.told[m].add(grad.scale[m], heard);
      grad.fading[m] = keep * before.scale[m] * grad.scale[m] * total<T>(sum);
      to_write += take * grad.told[m].dot(error);
      blamed.add(take * token.deep_write, grad.told[m]);
    }
    to_keep += grad.fading[m];
  }
  for (std::int64_t m = 0; m < slots; ++m) {
    const T take = token.take[m];
    if (take == 0) {
      grad.scale[m] *= keep;
      give(p.to_take, place * slots + m, T(0));
      continue;
    }
    const T doubt = tape.known[n * slots + m].dot(blamed);
    give(p.to_take, place * slots + m, token.deep_write * grad.told[m].dot(error) - doubt);
    grad.fading[m] -= take * doubt;
    Row<T, N>* of = grad.deep.data() + m * channels;
    const T written = take * token.deep_write * grad.scale[m], known = -take * before.scale[m];
    for (std::int64_t i = 0; i < channels; ++i) {
      of[i].dot(written, error, grad.key[i]);
      before.deep[m][i].dot(known, blamed, grad.key[i]);
      Row<T, N> row;
      row.clear();
      row.add(keep * grad.scale[m], of[i]);
      row.add(-take * token.key[i], blamed);
      of[i] = row;
    }
    grad.scale[m] = 1;
  }
  if (slots) {
    give(p.to_deep_log_keep, place, to_keep);
    give(p.to_deep_write, place, to_write);
  }

  // Of the shallow state.
  Part sum{};
  heard.clear();
  for (std::int64_t i = 0; i < channels; ++i) {
    Row<T, N> row = grad.shallow[i];
    row.add(token.query[i], change);
    grad.shallow[i] = row;
    heard.add(token.key[i], row);
    row.dot(T(1), before.shallow[i], sum);
    after.shallow[i].dot(T(1), change, grad.query[i]);
  }
  give(p.to_log_keep, place, token.keep * total<T>(sum));
  give(p.to_write, place, heard.dot(residual));
  blamed.add(token.write, heard);
  for (std::int64_t i = 0; i < channels; ++i) {
    grad.shallow[i].dot(token.write, residual, grad.key[i]);
    before.shallow[i].dot(T(-1), blamed, grad.key[i]);
    Row<T, N> row;
    row.clear();
    row.add(token.keep, grad.shallow[i]);
    row.add(-token.key[i], blamed);
    grad.shallow[i] = row;
  }
  blamed.store(static_cast<T*>(p.to_value) + place * channels + block.first, block.width);
  for (std::int64_t i = 0; i < channels; ++i) {
    give(p.to_query, place * channels + i, total<T>(grad.query[i]));
    give(p.to_key, place * channels + i, total<T>(grad.key[i]));
  }
}

template <typename T, int N>
void backward(const MemoryProblem& p, const Block& block) {
  const std::int64_t channels = p.channels, square = channels * channels;
#pragma omp parallel num_threads(p.threads)
  {
    Tape<T, N> tape(p);
    Gradients<T, N> grad(p);
    Row<T, N> zero;
    zero.clear();
#pragma omp for schedule(dynamic)
    for (std::int64_t task = 0; task < p.sets * p.heads; ++task) {
      const std::int64_t set = task / p.heads, head = task % p.heads, begin = p.ptr[set], end = p.ptr[set + 1];
      if (p.grad_shallow)
        load(p, block, at<T>(p.grad_shallow, task, square), grad.shallow.data());
      else
        std::fill(grad.shallow.begin(), grad.shallow.end(), zero);
      std::fill(grad.deep.begin(), grad.deep.end(), zero);
      std::fill(grad.scale.begin(), grad.scale.end(), T(1));
      std::fill(grad.fading.begin(), grad.fading.end(), T(0));
      for (std::int64_t m = 0; p.grad_deep && m < p.slots; ++m) {
        Row<T, N> state;
        for (std::int64_t i = 0; i < channels; ++i) {
          const std::int64_t place = i * channels + block.first;
          Row<T, N>& row = grad.deep[m * channels + i];
          row.load(at<T>(p.grad_deep, task * p.slots + m, square) + place, block.width);
          state.load(at<T>(p.deep_after, task * p.slots + m, square) + place, block.width);
          grad.fading[m] += row.dot(state);
        }
      }
      for (std::int64_t number = (end - begin + p.segment - 1) / p.segment - 1; number >= 0; --number) {
        const std::int64_t first = begin + number * p.segment, count = std::min(p.segment, end - first);
        tape.record(p, block, task, begin, first, count);
        for (std::int64_t n = count - 1; n >= 0; --n) retreat(p, block, first + n, head, tape, n, grad);
      }
      store(p, block, grad.shallow.data(), at<T>(p.to_shallow, task, square));
      for (std::int64_t m = 0; m < p.slots; ++m)
        store(p, block, grad.deep.data() + m * channels, at<T>(p.to_deep, task * p.slots + m, square), grad.scale[m]);
    }
  }
}

template <int N>
struct Number {
  static constexpr int value = N;
};

// Call with the problem's type and one block of value channels after the other, all about equally wide.
template <typename Kernel>
void dispatch(const MemoryProblem& p, Kernel kernel) {
  const auto by_blocks = [&](auto real) {
    constexpr std::int64_t size = Register<decltype(real)>::size;
    std::int64_t registers = (p.channels + size - 1) / size;
    for (std::int64_t blocks = (registers + kBlock - 1) / kBlock, first = 0; blocks; --blocks) {
      const std::int64_t n = (registers + blocks - 1) / blocks;
      const Block block{first, std::min(n * size, p.channels - first)};
      switch (n) {
        case 1: kernel(real, Number<1>{}, block); break;
        case 2: kernel(real, Number<2>{}, block); break;
        case 3: kernel(real, Number<3>{}, block); break;
        default: kernel(real, Number<4>{}, block);
      }
      registers -= n;
      first += n * size;
    }
  };
  p.doubles ? by_blocks(double{}) : by_blocks(float{});
}

}  // namespace

#define MEMORY_KERNEL(name, function)                                                       \
  EXPORT void structformer_##name(const MemoryProblem* p) {                                 \
    dispatch(*p, [&](auto real, auto n, const Block& block) {                               \
      function<decltype(real), decltype(n)::value>(*p, block);                              \
    });                                                                                     \
  }

MEMORY_KERNEL(delta_memory, forward)
MEMORY_KERNEL(delta_memory_backward, backward)
