// The first layer of the paper's network straight from stored pixels: convolution 3 -> 6 with a
// kernel of 4, batch norm, tanh and a mean over cells of 5x5.
//
// Three passes over the images, each image on its own, so that results do not depend on threads:
//   moments   what batch norm needs of a batch, from the pixels alone, in exact integers
//   forward   all four steps at once; keeps of each tanh its slope
//   backward  slopes times the gradient, correlated with the pixels
// The algebra that joins them, on 6x48 numbers, is in fused.py.
//
// Images are uint8 (count, side, side, 3). A tap is one of the 48 pixels under the kernel, ordered
// as in a weight (colour, row, column).

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

constexpr int COLOURS = 3, KERNEL = 4, TAPS = COLOURS * KERNEL * KERNEL;
constexpr int CHANNELS = 6, POOL = 5;
constexpr int PART = 256;  // columns at a time in the backward pass

#ifdef __AVX512F__
// 32 vector registers: 6 channels by 4 accumulators fit
constexpr int LANES = 16, BLOCK = 4;
#else
constexpr int LANES = 8, BLOCK = 2;
#endif
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));

Floats load(const float* from) {
  Floats value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

void store(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }

// Past the caches: what is read only after all images have been gone through would push out of them
// what is wanted sooner, and lines that are overwritten whole would be read first. Narrower vectors
// gain nothing by it.
void store_far(float* to, Floats value) {
#ifdef __AVX512F__
  _mm512_stream_ps(to, (__m512)value);
#else
  store(to, value);
#endif
}

// Makes what was stored far visible to other threads.
void finish_far_stores() {
#ifdef __AVX512F__
  _mm_sfence();
#endif
}

double total(Floats value) {
  double sum = 0;
  for (int lane = 0; lane < LANES; ++lane) sum += value[lane];
  return sum;
}

// Floats that begin where a vector may: loads that cross cache lines cost twice.
class Scratch {
 public:
  explicit Scratch(int64_t count) : vectors_((count + LANES - 1) / LANES) {}
  float* data() { return reinterpret_cast<float*>(vectors_.data()); }

 private:
  std::vector<Floats> vectors_;
};

struct Shape {
  explicit Shape(int64_t side)
      : side(side),
        positions(side - KERNEL + 1),
        cells(positions / POOL),
        used(cells * POOL),
        width((used + LANES * BLOCK - 1) / (LANES * BLOCK) * (LANES * BLOCK)),
        stride(width + LANES) {}
  int64_t side;
  int64_t positions;  // of the kernel along a side
  int64_t cells;      // along a side
  int64_t used;       // positions that lie in a cell
  int64_t width;      // of a row of positions, filled up to whole blocks of vectors
  int64_t stride;     // of a row of pixels, filled up so that all its taps can be read
};

template <typename Work>
void each_image(int64_t count, int64_t threads, Work work) {
  std::vector<std::thread> others;
  auto part = [&](int64_t index) { work(count * index / threads, count * (index + 1) / threads); };
  for (int64_t index = 1; index < threads; ++index) {
    try {
      others.emplace_back(part, index);
    } catch (const std::system_error&) {  // no more threads for this user
      part(index);
    }
  }
  part(0);
  for (auto& other : others) other.join();
}

// ---- moments

int64_t product(const uint8_t* a, const uint8_t* b, int64_t length) {
  int32_t sum = 0;
  for (int64_t i = 0; i < length; ++i) sum += int32_t(a[i]) * int32_t(b[i]);
  return sum;
}

// Sums of products of all pairs of taps over all positions of the kernel.
//
// Such a sum depends on the distance of the two taps, but for the rim: so one sum is made for each
// distance, and the others follow by moving its window, a row or a column out and another in.
class Moments {
 public:
  explicit Moments(const Shape& shape)
      : side_(shape.side),
        window_(shape.positions),
        plane_(side_ * side_ + KERNEL),
        pixels_(COLOURS * plane_),
        masked_(COLOURS * plane_),
        centred_(COLOURS * plane_),
        columns_(COLOURS * 2 * RIM * side_) {}

  void of(const uint8_t* image, int64_t* sums, int64_t* products) {
    fill(image);
    for (int colour = 0; colour < COLOURS; ++colour)
      single(colour, sums + colour * KERNEL * KERNEL);
    std::memset(base_, 0, sizeof base_);
    std::memset(base_back_, 0, sizeof base_back_);
    for (int64_t y = 0; y < window_; y += BAND)
      for (int dy = 0; dy < KERNEL; ++dy)
        for (int a = 0; a < COLOURS; ++a)
          for (int b = 0; b < COLOURS; ++b)
            distances(a, b, dy, y, std::min<int64_t>(BAND, window_ - y));
    for (int dy = 0; dy < KERNEL; ++dy)
      for (int dx = dy ? -KERNEL + 1 : 0; dx < KERNEL; ++dx)
        for (int a = 0; a < COLOURS; ++a)
          for (int b = 0; b < COLOURS; ++b) windows(a, b, dy, dx, sums, products);
  }

 private:
  static constexpr int BAND = 16;               // rows whose sums fit 32 bits, and the cache
  static constexpr int RIM = 2 * (KERNEL - 1);  // columns that enter or leave a window, or pair up
  static constexpr int CENTRE = 128;

  static int tap(int colour, int y, int x) { return (colour * KERNEL + y) * KERNEL + x; }

  const uint8_t* row(int colour, int64_t y) const { return &pixels_[colour * plane_ + y * side_]; }

  const uint8_t* column(int colour, int64_t x) const {
    int64_t index = x < RIM ? x : RIM + x - (side_ - RIM);
    return &columns_[(colour * 2 * RIM + index) * side_];
  }

  void fill(const uint8_t* image) {
    for (int colour = 0; colour < COLOURS; ++colour) {
      uint8_t* pixels = &pixels_[colour * plane_];
      int8_t* centred = &centred_[colour * plane_];
      uint8_t* masked = &masked_[colour * plane_];
      for (int64_t i = 0; i < side_ * side_; ++i) pixels[i] = image[i * COLOURS + colour];
      for (int64_t i = 0; i < side_ * side_; ++i) centred[i] = int8_t(pixels[i] - CENTRE);
      std::memcpy(masked, pixels, side_ * side_);
      for (int64_t y = 0; y < side_; ++y) {
        std::memset(masked + y * side_ + window_, 0, side_ - window_);
        for (int64_t x = 0; x < RIM; ++x) {
          columns_[(colour * 2 * RIM + x) * side_ + y] = pixels[y * side_ + x];
          columns_[(colour * 2 * RIM + RIM + x) * side_ + y] = pixels[(y + 1) * side_ - RIM + x];
        }
      }
    }
  }

  // Of each tap of a colour alone.
  void single(int colour, int64_t* sums) const {
    std::fill(sums, sums + KERNEL * KERNEL, 0);
    for (int64_t v = 0; v < side_; ++v) {
      const uint8_t* pixels = row(colour, v);
      int32_t along = 0;
      for (int64_t u = 0; u < window_; ++u) along += pixels[u];
      for (int x = 0; x < KERNEL; ++x) {
        if (x > 0) along += pixels[x - 1 + window_] - pixels[x - 1];
        for (int y = 0; y < KERNEL; ++y)
          if (v >= y && v < y + window_) sums[y * KERNEL + x] += along;
      }
    }
  }

  // Adds a band of rows to the sums of one pair of colours, dy rows apart, at all distances dx.
  // Windows begin at the leftmost column possible; what is outside is masked, so that many rows
  // are one long array. One factor is centred: processors multiply unsigned by signed bytes.
  void distances(int a, int b, int dy, int64_t first, int64_t rows) {
    int64_t length = rows * side_;
    add(&masked_[a * plane_ + first * side_], &centred_[b * plane_ + (first + dy) * side_], length,
        base_[dy][a][b]);
    if (dy > 0)
      add(&masked_[b * plane_ + (first + dy) * side_], &centred_[a * plane_ + first * side_],
          length, base_back_[dy][a][b]);
  }

  static void add(const uint8_t* fixed, const int8_t* moving, int64_t length, int64_t* sums) {
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (int64_t i = 0; i < length; ++i) {
      s0 += int32_t(fixed[i]) * int32_t(moving[i]);
      s1 += int32_t(fixed[i]) * int32_t(moving[i + 1]);
      s2 += int32_t(fixed[i]) * int32_t(moving[i + 2]);
      s3 += int32_t(fixed[i]) * int32_t(moving[i + 3]);
    }
    sums[0] += s0, sums[1] += s1, sums[2] += s2, sums[3] += s3;
  }

  // All pairs of taps of two colours at one distance.
  void windows(int a, int b, int dy, int dx, const int64_t* sums, int64_t* products) const {
    int64_t at_left = dx < 0 ? base_back_[dy][a][b][-dx] + CENTRE * sums[tap(b, dy, 0)]
                             : base_[dy][a][b][dx] + CENTRE * sums[tap(a, 0, 0)];
    int x0 = std::max(0, -dx), x1 = std::min(KERNEL, KERNEL - dx);
    for (int x = x0; x < x1; ++x) {
      if (x > x0) {
        int64_t out = x - 1, in = out + window_;
        at_left += product(column(a, in), column(b, in + dx) + dy, window_) -
                   product(column(a, out), column(b, out + dx) + dy, window_);
      }
      int64_t sum = at_left;
      for (int y = 0; y + dy < KERNEL; ++y) {
        if (y > 0) {
          int64_t out = y - 1, in = out + window_;
          sum += product(row(a, in) + x, row(b, in + dy) + x + dx, window_) -
                 product(row(a, out) + x, row(b, out + dy) + x + dx, window_);
        }
        int one = tap(a, y, x), other = tap(b, y + dy, x + dx);
        products[one * TAPS + other] = products[other * TAPS + one] = sum;
      }
    }
  }

  int64_t side_, window_, plane_;
  std::vector<uint8_t> pixels_, masked_;
  std::vector<int8_t> centred_;
  std::vector<uint8_t> columns_;  // the first and last of each colour, each contiguous
  int64_t base_[KERNEL][COLOURS][COLOURS][KERNEL];       // the second tap right of the first
  int64_t base_back_[KERNEL][COLOURS][COLOURS][KERNEL];  // and left of it
};

// ---- forward and backward

// Pixels in -1..1, (colour, row, stride); what is beyond a row is finite and never counted.
void spread(const uint8_t* image, const Shape& shape, float* planes) {
  for (int64_t y = 0; y < shape.side; ++y)
    for (int colour = 0; colour < COLOURS; ++colour) {
      float* row = planes + (colour * shape.side + y) * shape.stride;
      const uint8_t* pixels = image + y * shape.side * COLOURS + colour;
      for (int64_t x = 0; x < shape.side; ++x)
        row[x] = float(pixels[x * COLOURS]) * float(1 / 127.5) - 1.0f;
    }
}

// tanh(z), to 1e-7, and its derivative, from e = exp(2z): tanh = 1 - 2 / (1 + e).
// exp(2z) = 2^k 2^f with k whole and |f| <= 1/2, where the series of 2^f ends soon.
void tanh_of(Floats z, Floats& value, Floats& slope) {
  const float limit = 10.0f;  // tanh is 1 there, to float precision
  const float rounds = 12582912.0f;  // 1.5 * 2^23: adding it leaves no bits for a fraction
  z = z > limit ? Floats{} + limit : z;
  z = z < -limit ? Floats{} - limit : z;
  Floats power = z * 2.88539008f;
  Floats shifted = power + rounds;
  Floats f = power - (shifted - rounds);
  Floats series = 1.54035304e-4f * f + 1.33335581e-3f;
  series = series * f + 9.61812911e-3f;
  series = series * f + 5.55041087e-2f;
  series = series * f + 2.40226507e-1f;
  series = series * f + 6.93147181e-1f;
  series = series * f + 1.0f;
  Floats e = (Floats)((Ints)series + ((Ints)shifted << 23));
  Floats share = 1.0f / (1.0f + e);
  value = 1.0f - 2.0f * share;
  slope = 4.0f * share * (1.0f - share);
}

void forward_image(const float* planes, const Shape& s, const float* weights, const float* shift,
                   float* sums, float* pooled, float* slopes) {
  for (int64_t cell = 0; cell < s.cells; ++cell) {
    std::fill(sums, sums + CHANNELS * s.width, 0.0f);
    for (int64_t x = 0; x < s.width; x += LANES * BLOCK)
      for (int64_t y = cell * POOL; y < (cell + 1) * POOL; ++y) {
        Floats z[CHANNELS][BLOCK];
        for (int c = 0; c < CHANNELS; ++c)
          for (int i = 0; i < BLOCK; ++i) z[c][i] = shift[c] - Floats{};
        const float* weight = weights;
        for (int colour = 0; colour < COLOURS; ++colour)
          for (int dy = 0; dy < KERNEL; ++dy) {
            const float* row = planes + (colour * s.side + y + dy) * s.stride + x;
            for (int dx = 0; dx < KERNEL; ++dx, weight += CHANNELS) {
              Floats pixels[BLOCK];
              for (int i = 0; i < BLOCK; ++i) pixels[i] = load(row + dx + i * LANES);
              for (int c = 0; c < CHANNELS; ++c)
                for (int i = 0; i < BLOCK; ++i) z[c][i] += weight[c] * pixels[i];
            }
          }
        for (int c = 0; c < CHANNELS; ++c)
          for (int i = 0; i < BLOCK; ++i) {
            Floats value, slope;
            tanh_of(z[c][i], value, slope);
            float* sum = sums + c * s.width + x + i * LANES;
            store(sum, load(sum) + value);
            if (slopes) store_far(slopes + (y * CHANNELS + c) * s.width + x + i * LANES, slope);
          }
      }
    for (int c = 0; c < CHANNELS; ++c)
      for (int64_t i = 0; i < s.cells; ++i) {
        const float* five = sums + c * s.width + i * POOL;
        float sum = five[0] + five[1] + five[2] + five[3] + five[4];
        pooled[(cell * s.cells + i) * CHANNELS + c] = sum * (1.0f / (POOL * POOL));
      }
  }
}

void backward_image(const float* planes, const Shape& s, const float* slopes,
                    const float* gradient, float* scratch, double* products, double* sums) {
  float* spread_out = scratch;                  // (channel, width): of one row of cells
  alignas(sizeof(Floats)) float inner[POOL * CHANNELS * PART];  // (row of the cells, channel, x)
  Floats sum[CHANNELS] = {}, by_tap[TAPS][CHANNELS] = {};
  std::fill(spread_out, spread_out + CHANNELS * s.width, 0.0f);
  for (int64_t cell = 0; cell < s.cells; ++cell) {
    for (int c = 0; c < CHANNELS; ++c)
      for (int64_t i = 0; i < s.cells; ++i) {
        float each = gradient[(cell * s.cells + i) * CHANNELS + c] * (1.0f / (POOL * POOL));
        for (int j = 0; j < POOL; ++j) spread_out[c * s.width + i * POOL + j] = each;
      }
    for (int64_t x0 = 0; x0 < s.width; x0 += PART) {
      const int64_t end = std::min(s.width, x0 + PART);
      for (int y = 0; y < POOL; ++y)
        for (int c = 0; c < CHANNELS; ++c) {
          const float* slope = slopes + ((cell * POOL + y) * CHANNELS + c) * s.width;
          for (int64_t x = x0; x < end; x += LANES) {
            Floats value = load(slope + x) * load(spread_out + c * s.width + x);
            sum[c] += value;
            store(inner + (y * CHANNELS + c) * PART + x - x0, value);
          }
        }
      for (int tap = 0; tap < TAPS; tap += BLOCK) {
        int colour = tap / (KERNEL * KERNEL), dy = tap / KERNEL % KERNEL, dx = tap % KERNEL;
        Floats part[BLOCK][CHANNELS] = {};
        for (int y = 0; y < POOL; ++y) {
          const float* row = planes + (colour * s.side + cell * POOL + y + dy) * s.stride + dx;
          const float* values = inner + y * CHANNELS * PART - x0;
          for (int64_t x = x0; x < end; x += LANES) {
            Floats pixels[BLOCK];
            for (int i = 0; i < BLOCK; ++i) pixels[i] = load(row + x + i);
            for (int c = 0; c < CHANNELS; ++c) {
              Floats value = load(values + c * PART + x);
              for (int i = 0; i < BLOCK; ++i) part[i][c] += value * pixels[i];
            }
          }
        }
        for (int i = 0; i < BLOCK; ++i)
          for (int c = 0; c < CHANNELS; ++c) by_tap[tap + i][c] += part[i][c];
      }
    }
  }
  for (int c = 0; c < CHANNELS; ++c) {
    sums[c] = total(sum[c]);
    for (int tap = 0; tap < TAPS; ++tap) products[c * TAPS + tap] = total(by_tap[tap][c]);
  }
}

}  // namespace

extern "C" {

// Values that `forward` keeps of one image.
int64_t slopes_of_image(int64_t side) {
  Shape shape(side);
  return shape.used * CHANNELS * shape.width;
}

// sums: (count, 48); products: (count, 48, 48), of pixels 0..255 over all positions.
void moments(const uint8_t* images, int64_t count, int64_t side, int64_t threads, int64_t* sums,
             int64_t* products) {
  Shape shape(side);
  each_image(count, threads, [&](int64_t first, int64_t end) {
    Moments moments(shape);
    for (int64_t i = first; i < end; ++i)
      moments.of(images + i * side * side * COLOURS, sums + i * TAPS, products + i * TAPS * TAPS);
  });
}

// weights: (48, 6), for pixels in -1..1; shift: (6,); pooled:
// (count, cells, cells, 6), as the next layers compute fastest.
// slopes: slopes_of_image values each, the first where a vector may begin; null where there will be
// no backward pass.
void forward(const uint8_t* images, int64_t count, int64_t side, int64_t threads,
             const float* weights, const float* shift, float* pooled, float* slopes) {
  Shape shape(side);
  each_image(count, threads, [&](int64_t first, int64_t end) {
    Scratch planes(COLOURS * side * shape.stride), sums(CHANNELS * shape.width);
    for (int64_t i = first; i < end; ++i) {
      spread(images + i * side * side * COLOURS, shape, planes.data());
      forward_image(planes.data(), shape, weights, shift, sums.data(),
                    pooled + i * CHANNELS * shape.cells * shape.cells,
                    slopes ? slopes + i * slopes_of_image(side) : nullptr);
    }
    finish_far_stores();
  });
}

// gradient: of pooled, shaped so. products: (count, 6, 48), gradients before tanh times pixels in
// -1..1; sums: (count, 6), of those gradients.
void backward(const uint8_t* images, int64_t count, int64_t side, int64_t threads,
              const float* slopes, const float* gradient, double* products, double* sums) {
  Shape shape(side);
  each_image(count, threads, [&](int64_t first, int64_t end) {
    Scratch planes(COLOURS * side * shape.stride), scratch(CHANNELS * shape.width);
    for (int64_t i = first; i < end; ++i) {
      spread(images + i * side * side * COLOURS, shape, planes.data());
      backward_image(planes.data(), shape, slopes + i * slopes_of_image(side),
                     gradient + i * CHANNELS * shape.cells * shape.cells, scratch.data(),
                     products + i * CHANNELS * TAPS, sums + i * CHANNELS);
    }
  });
}
}
