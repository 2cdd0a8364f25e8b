// Finds speech: Silero VAD with its LSTM run by cellgate, its spectrum and convolutions by the loops below.
// Prints for each 32 ms of sound when it begins, in seconds, and the probability that somebody speaks. usage:
// voice_activity FRONT_END.bin LSTM.safetensors SOUND.raw The first two files are made by `python
// voice_activity_export.py FOLDER`; sound is raw 16-bit samples, 16 kHz, mono: ffmpeg -i anything -f s16le
// -ar 16000 -ac 1 SOUND.raw
#include <algorithm>
#include <cellgate/cellgate.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace {

using Floats = std::vector<float>;

constexpr int kChunk = 512;   // samples of one step
constexpr int kContext = 64;  // samples of the step before that the network is given again
constexpr int kWindow = 256, kHop = 128, kBins = 129, kUnits = 128;

template <class T>
std::vector<T> read_file(const char* path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error(std::string(path) + ": cannot be read");
  std::vector<T> values(static_cast<std::size_t>(file.tellg()) / sizeof(T));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
  return values;
}

// A convolution over time of three steps, padded with a zero step on both sides, and ReLU.
class Convolution {
 public:
  Convolution(int inputs, int outputs, int stride, const Floats& all, std::size_t& at)
      : inputs_(inputs), outputs_(outputs), stride_(stride) {
    weight_ = take(all, at, outputs * inputs * 3);
    bias_ = take(all, at, outputs);
  }

  static Floats take(const Floats& all, std::size_t& at, int count) {
    if (all.size() - at < static_cast<std::size_t>(count))
      throw std::runtime_error("the front end is cut short");
    at += static_cast<std::size_t>(count);
    return Floats(all.begin() + static_cast<std::ptrdiff_t>(at) - count,
                  all.begin() + static_cast<std::ptrdiff_t>(at));
  }

  // [steps, inputs] to [(steps - 1) / stride + 1, outputs].
  Floats operator()(const Floats& x) const {
    const int steps = static_cast<int>(x.size()) / inputs_;
    Floats y;
    for (int middle = 0; middle < steps; middle += stride_) {
      for (int j = 0; j < outputs_; ++j) {
        float sum = bias_[j];
        for (int k = std::max(0, 1 - middle); k < std::min(3, steps + 1 - middle); ++k) {
          for (int i = 0; i < inputs_; ++i)
            sum += weight_[(j * inputs_ + i) * 3 + k] * x[(middle + k - 1) * inputs_ + i];
        }
        y.push_back(std::max(sum, 0.0f));
      }
    }
    return y;
  }

 private:
  int inputs_, outputs_, stride_;
  Floats weight_, bias_;  // [outputs, inputs, 3], [outputs]
};

class Silero {
 public:
  Silero(const Floats& all, const cellgate::Model& lstm) : stream_(lstm) {
    if (stream_.input_size() != kUnits || stream_.output_size() != kUnits)
      throw std::runtime_error("the LSTM must have 128 inputs and 128 units");
    std::size_t at = 0;
    basis_ = Convolution::take(all, at, 2 * kBins * kWindow);
    encoder_ = {
        {kBins, 128, 1, all, at}, {128, 64, 2, all, at}, {64, 64, 2, all, at}, {64, kUnits, 1, all, at}};
    read_out_ = Convolution::take(all, at, kUnits + 1);
    if (at != all.size()) throw std::runtime_error("the front end is too long");
  }

  // `chunk` has kContext samples of the chunk before it, then kChunk of its own.
  float probability(const float* chunk) {
    Floats features = magnitudes(chunk);
    for (const Convolution& layer : encoder_) features = layer(features);
    float h[kUnits];
    stream_.process(features, h);
    float sum = read_out_[kUnits];
    for (int j = 0; j < kUnits; ++j) sum += read_out_[j] * std::max(h[j], 0.0f);
    return 1 / (1 + std::exp(-sum));
  }

 private:
  // [4 windows, kBins]; kContext samples more at the end are the last ones mirrored.
  Floats magnitudes(const float* chunk) const {
    Floats x(chunk, chunk + kContext + kChunk);
    for (int i = 0; i < kContext; ++i) x.push_back(chunk[kContext + kChunk - 2 - i]);
    Floats result;
    for (std::size_t begin = 0; begin + kWindow <= x.size(); begin += kHop) {
      for (int bin = 0; bin < kBins; ++bin) {
        float real = 0, imaginary = 0;
        for (int i = 0; i < kWindow; ++i) {
          real += basis_[bin * kWindow + i] * x[begin + i];
          imaginary += basis_[(kBins + bin) * kWindow + i] * x[begin + i];
        }
        result.push_back(std::sqrt(real * real + imaginary * imaginary));
      }
    }
    return result;
  }

  cellgate::Stream stream_;
  Floats basis_;  // [2 * kBins, kWindow]: real parts, imaginary parts
  std::vector<Convolution> encoder_;
  Floats read_out_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: voice_activity FRONT_END.bin LSTM.safetensors SOUND.raw\n");
    return 2;
  }
  try {
    Silero silero(read_file<float>(argv[1]), cellgate::Model::load(argv[2]));
    Floats sound(kContext);
    for (const std::int16_t sample : read_file<std::int16_t>(argv[3])) sound.push_back(sample / 32768.0f);
    for (std::size_t begin = 0; begin + kContext < sound.size(); begin += kChunk) {
      sound.resize(std::max(sound.size(), begin + kContext + kChunk));
      std::printf("%.3f %.9g\n", static_cast<double>(begin) / 16000, silero.probability(&sound[begin]));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "voice_activity: %s\n", error.what());
    return 1;
  }
}
