// csrc/files: our own format, detection, limits and damage, from files written here with known numbers.
// usage: test_files FOLDER_OF_STORED_FILES FOLDER_FOR_TEMPORARY_FILES
#include <cmath>
#include <cstdio>
#include <fstream>

#include "file_checks.hpp"

namespace {

template <class S>
NetworkDescription<S> full_network() {
  Config config = test::sizes(3, 4, 2);
  config.bidirectional = true;
  config.proj_size = 2;
  NetworkDescription<S> n = test::lstm<S>(config);
  Random random(5);
  n.is_network = n.batch_first = true;
  n.dropout = 0.25;
  LinearHead<S> head;
  head.outputs = 2;
  head.weight = test::values<S>(random, 2 * 4);
  head.bias = test::values<S>(random, 2);
  head.activation = Activation::kSoftmax;
  n.head = head;
  n.input_mean = test::values<S>(random, 3);
  n.input_scale = Values<S>(std::vector<S>{2, S(-0.5), S(1e-3)});
  n.skip = 0.1;
  n.input_gain = 1.5;
  n.output_gain = -1e-30;
  n.initial_h = test::values<S>(random, 4 * 2);
  n.initial_c = test::values<S>(random, 4 * 4);
  n.sample_rate = 44100.5;
  n.metadata = {{"", "empty"}, {"name", "a \"quoted\" \\ \n \xc3\xa9 name"}};
  SelfTest<S> self_test;
  self_test.steps = 3;
  self_test.input = test::values<S>(random, 9);
  self_test.output = test::values<S>(random, 6);
  self_test.with_gains = false;
  n.self_test = self_test;
  return n;
}

template <class S>
void same_network(const NetworkDescription<S>& a, const NetworkDescription<S>& b) {
  same_lstm(a, b);
  same_head(a, b);
  CHECK(a.is_network == b.is_network && a.batch_first == b.batch_first && a.dropout == b.dropout, "kind");
  CHECK(a.pooling == b.pooling && a.skip == b.skip && a.sample_rate == b.sample_rate, "numbers");
  CHECK(a.input_gain == b.input_gain && a.output_gain == b.output_gain, "gains");
  CHECK(a.metadata == b.metadata, "metadata");
  same(a.input_mean, b.input_mean, "input_mean");
  same(a.input_scale, b.input_scale, "input_scale");
  same(a.initial_h, b.initial_h, "initial_h");
  same(a.initial_c, b.initial_c, "initial_c");
  CHECK(a.self_test.has_value() == b.self_test.has_value(), "self_test");
  if (!a.self_test) return;
  CHECK(a.self_test->steps == b.self_test->steps && a.self_test->with_gains == b.self_test->with_gains,
        "test");
  same(a.self_test->input, b.self_test->input, "self_test.input");
  same(a.self_test->output, b.self_test->output, "self_test.output");
}

template <class S>
void check_ours() {
  for (const bool bias : {true, false}) {
    for (const bool bidirectional : {true, false}) {
      for (const std::int64_t proj : {0, 2}) {
        Config config = test::sizes(3, 5, 2);
        config.bias = bias;
        config.bidirectional = bidirectional;
        config.proj_size = proj;
        const NetworkDescription<S> n = test::lstm<S>(config);
        same_network(read<S>(write_network(n)), n);
      }
    }
  }
  const NetworkDescription<S> n = full_network<S>();
  const File file = write_network(n);
  const NetworkDescription<S> back = read<S>(file);
  same_network(back, n);
  CHECK(write_network(back) == file, "not the same file again");
  NetworkDescription<S> pooled = test::lstm<S>(test::sizes(1, 2));
  pooled.is_network = true;
  pooled.pooling = Pooling::kLast;
  same_network(read<S>(write_network(pooled)), pooled);

  ReadOptions options;
  options.borrow = true;
  const NetworkDescription<S> borrowed = read<S>(file, options);
  same_network(borrowed, n);
  CHECK(borrowed.layers[0].w_ih.is_borrowed() && borrowed.head->weight.is_borrowed(), "copied");
  File shifted(file.size() + 1);  // where nothing is aligned
  std::copy(file.begin(), file.end(), shifted.begin() + 1);
  AnyNetwork unaligned = read_network({shifted.data() + 1, file.size()}, options);
  CHECK(!std::get<NetworkDescription<S>>(unaligned).layers[0].w_ih.is_borrowed(), "borrowed unaligned");
  same_network(std::get<NetworkDescription<S>>(unaligned), n);
}

// A safetensors file of `tensors`, which names, types and shapes say, over these bytes.
File safetensors(const std::string& header, std::size_t body, unsigned char fill = 0) {
  File file(8 + header.size() + body, fill);
  for (std::size_t i = 0; i < 8; ++i)
    file[i] = static_cast<unsigned char>(std::uint64_t{header.size()} >> (8 * i));
  std::copy(header.begin(), header.end(), file.begin() + 8);
  return file;
}

// An LSTM of one input and one unit without a bias: two tensors of four numbers.
File tiny(const std::string& configuration, const std::string& dtype = "F32", std::size_t each = 16,
          unsigned char fill = 0) {
  return safetensors(R"({"__metadata__":{"cellgate":")" + configuration +
                         R"("},"weight_hh_l0":{"dtype":"F32","shape":[4,1],"data_offsets":[0,16]},)" +
                         R"("weight_ih_l0":{"dtype":")" + dtype + R"(","shape":[4,1],"data_offsets":[16,)" +
                         std::to_string(16 + each) + "]}}",
                     16 + each, fill);
}

constexpr const char* kTiny = R"({\"format_version\":1,\"input_size\":1,\"hidden_size\":1,\"bias\":false})";

void check_our_files() {
  const NetworkDescription<float> n = read(tiny(kTiny));
  CHECK(!n.is_network && n.config.num_layers == 1 && n.config.proj_size == 0, "defaults");
  CHECK(n.layers[0].b_ih.empty() && n.weights()[0].b_ih == nullptr, "a bias");

  // 0x3c00 is 1 in half precision, 0x0001 the smallest subnormal, 0xc000 -2, 0x3555 is 0.33325.
  File half = tiny(kTiny, "F16", 8);
  const unsigned char numbers[] = {0x00, 0x3c, 0x01, 0x00, 0x00, 0xc0, 0x55, 0x35};
  std::copy(numbers, numbers + 8, half.end() - 8);
  const NetworkDescription<float> widened = read(half);
  const float wanted[] = {1.0f, 0x1p-24f, -2.0f, 0x1.554p-2f};
  CHECK(test::same_bits(widened.layers[0].w_ih.data(), wanted, 4), "float16");

  fails(tiny(kTiny, "F64", 32),
        "weight_ih_l0 must be float16 or float32 (a float32 model converts nothing down)"
        ", got float64");
  fails(tiny(kTiny, "BF16", 8), "got BF16");
  fails(tiny(kTiny, "F32", 16, 0xff), "weight_hh_l0 must be finite, got NaN or infinity");
  ReadOptions allow;
  allow.allow_nonfinite = true;
  CHECK(std::isnan(read(tiny(kTiny, "F32", 16, 0xff), allow).layers[0].w_hh.data()[0]), "not NaN");

  fails(tiny(""), "its configuration is not JSON");
  fails(tiny("[]"), "its configuration has no format_version");
  fails(tiny(R"({\"format_version\":2})"), "has format version 2; this cellgate reads 1");
  fails(tiny(R"({\"format_version\":1,\"input_size\":1,\"peephole\":true})"),
        "lacks hidden_size and has the unknown option 'peephole' (was it written by a newer cellgate?)");
  const auto with = [](const std::string& name, const std::string& value) {
    std::string text = kTiny;
    text.pop_back();
    const std::string key = R"(\")" + name + R"(\":)";
    const std::size_t at = text.find(key);
    if (at == std::string::npos) return tiny(text + "," + key + value + "}");
    return tiny(text.replace(at, text.find_first_of(",}", at) - at, key + value) + "}");
  };
  fails(with("hidden_size", "0"), "its configuration is invalid: hidden_size: must be at least 1, got 0");
  fails(with("hidden_size", "-1"), "hidden_size: must be at least 1, got -1");
  fails(with("hidden_size", "1.5"), "hidden_size: must be an integer, got 1.5");
  fails(with("hidden_size", "null"), "hidden_size: must be an integer, got null");
  fails(with("hidden_size", "4611686018427387904"), "need more bytes than this machine has");
  fails(with("hidden_size", "18446744073709551616"), "hidden_size: must be at most");
  fails(with("hidden_size", "1e999"), "a number is too large");
  fails(with("hidden_size", "2"), "weight_ih_l0 must have shape (8, 1), got (4, 1)");
  fails(with("num_layers", "1000000000"), "num_layers is 1000000000, but it holds 2 tensors");
  fails(with("num_layers", "2"), "weight_ih_l1 is missing (wanted shape (4, 1)); weight_hh_l1 is missing");
  fails(with("proj_size", "1"), "proj_size: must be smaller than hidden_size 1, got 1");
  fails(with("bidirectional", "1"), "bidirectional: must be true or false, got a number");
  fails(with("dtype", R"(\"int8\")"), "dtype: must be float32 or float64, got 'int8'");
  fails(with("dropout", "1.5"), "dropout: must be a probability in [0, 1], got 1.5");
  fails(with("network", "1"), "network: must be an object, got a number");
  fails(with("network", R"({\"tempo\":1})"), "has the unknown option 'network.tempo'");
  fails(with("network", R"({\"activation\":\"tanh\"})"), "must not be there without head.weight");
  fails(with("network", R"({\"pooling\":\"max\"})"),
        "network.pooling: must be none, mean or last, got 'max'");
  fails(with("network", R"({\"skip\":1,\"pooling\":\"mean\"})"), "skip: must be 0 with pooling");
  fails(with("network", R"({\"sample_rate\":-1})"), "sample_rate: must be positive and finite");
  CHECK(read(with("network", "{}")).is_network, "not a network");
}

void check_tensor_headers() {
  const std::string meta = std::string(R"({"__metadata__":{"cellgate":")") + kTiny + "\"},";
  const auto tensor = [](const std::string& name, const std::string& shape, const std::string& offsets) {
    return "\"" + name + R"(":{"dtype":"F32","shape":)" + shape + ",\"data_offsets\":" + offsets + "}";
  };
  const std::string hh = tensor("weight_hh_l0", "[4,1]", "[0,16]");
  const auto file = [&](const std::string& second, std::size_t body = 32) {
    return safetensors(meta + hh + "," + second + "}", body);
  };
  CHECK(read(file(tensor("weight_ih_l0", "[4,1]", "[16,32]"))).layers.size() == 1, "valid");
  const std::string whole = "is not a whole safetensors file";
  fails(file(tensor("weight_ih_l0", "[4,1]", "[0,16]"), 16), whole);
  fails(file(tensor("weight_ih_l0", "[4,1]", "[20,36]"), 36), whole);
  fails(file(tensor("weight_ih_l0", "[4,1]", "[16,32]"), 33), "its tensors have 32 bytes of 33");
  fails(file(tensor("weight_ih_l0", "[4,1]", "[16,32]"), 31), "must lie in order within 31 bytes");
  fails(file(tensor("weight_ih_l0", "[4,1]", "[32,16]")), "must lie in order");
  fails(file(tensor("weight_ih_l0", "[4,1]", "[-16,0]")), "must be at least 0, got -16");
  fails(file(tensor("weight_ih_l0", "[4,-1]", "[16,32]")), "must be at least 0, got -1");
  fails(file(tensor("weight_ih_l0", "[4,2]", "[16,32]")), "must span the bytes of shape (4, 2), got 16");
  fails(file(tensor("weight_ih_l0", "[9007199254740992,9007199254740992]", "[16,32]")), "must span");
  fails(file(tensor("weight_ih_l0", "[4,1]", "[16]")), "must have 2 elements");
  fails(file(tensor("weight_ih_l0", "4", "[16,32]")), "must be an array of numbers");
  fails(file(tensor("weight_hh_l0", "[4,1]", "[16,32]")), "'weight_hh_l0' occurs twice");
  fails(file(tensor("a\\nb", "[4,1]", "[16,32]")), "'a\\x0ab' is unexpected");
  fails(file("\"weight_ih_l0\":1"), "must be an object");
  fails(file("\"weight_ih_l0\":{}"), "lacks 'dtype'");
  fails(file(R"("weight_ih_l0":{"dtype":"F31"})"), "has the unknown type 'F31'", Fault::kUnsupported);
  fails(safetensors("{}", 0), "has no metadata 'cellgate', so it was not written by LSTM.save");
  fails(safetensors(R"({"__metadata__":{"cellgate":1}})", 0), "must be a string, got a number");
  ReadOptions ours;
  ours.format = Format::kSafetensors;
  for (const std::string& text :
       {std::string(), std::string("abc"), std::string(100, '\0'), std::string(100, '\xff'),
        std::string("{}"), std::string("PK\3\4 a zip file")})
    fails(text, whole, Fault::kMalformed, ours);
}

void check_limits() {
  const std::string deep(100'000, '[');
  fails("{\"layers\":" + deep, "is not JSON: nests deeper than 64 levels", Fault::kTooLarge);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  fails(objects, "nests deeper", Fault::kTooLarge);
  std::string many = "{\"layers\":[";
  for (std::size_t i = 0; i < (std::size_t{1} << 20); ++i) many += "[],";
  fails(many + "[]]}", "has more than 1048576 values", Fault::kTooLarge);
  ReadOptions options;
  options.byte_limit = 10;
  fails(std::string("{\"layers\": []}"), "must have at most 10 bytes, got 14", Fault::kTooLarge, options);
  // Inputs that are not in the file must not multiply what is.
  std::string wide = R"({"in_shape":[20000],"input_batch":[)", kernel = "[", zeros = "0";
  for (int i = 1; i < 2000; ++i) zeros += ",0";
  for (int i = 0; i < 20000; ++i) kernel += i ? ",[1,1,1,1]" : "[1,1,1,1]";
  wide += zeros + "],\"output_batch\":[" + zeros + R"(],"layers":[{"type":"lstm","shape":[1],"weights":[)" +
          kernel + "],[[1,1,1,1]]]}]}";
  fails(wide, "input_batch: must have at most 838 elements, got 2000", Fault::kTooLarge);

  const Fault no = Fault::kUnsupported;
  fails(std::string(), "it is empty", no);
  fails(std::string("PK\3\4...."), "it is a zip archive, such as .pt and .keras files are", no);
  fails(std::string("\x89HDF\r\n\x1a\n"), "it is an HDF5 file", no);
  fails(std::string("[1]"), "it begins with '[1]'", no);
  fails(std::string("\xff\xfe{"), "it begins with '\\xff\\xfe{'", no);
  fails(std::string("{\"a\":\"\xff\"}"), "is not JSON", Fault::kMalformed);
  fails(std::string("{}"), "got an object", no);
}

// Cut anywhere it must fail; with any bit turned it may also be read, and must not do anything else.
template <class Content>
void check_damaged(const Content& whole) {
  const auto try_read = [](const Content& content, bool nonfinite) {
    ReadOptions options;
    options.allow_nonfinite = nonfinite;
    try {
      read_network(view(content), options);
      return true;
    } catch (const FileError&) {
      return false;
    }
  };
  CHECK(try_read(whole, false), "not even whole");
  for (std::size_t end = 0; end < whole.size(); ++end) {
    const Content cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(end));
    CHECK(!try_read(cut, false), "read the first %zu bytes", end);
  }
  std::size_t refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Content flipped = whole;
      flipped[at] = static_cast<typename Content::value_type>(flipped[at] ^ (1 << bit));
      refused += !try_read(flipped, bit % 2);
    }
  }
  CHECK(refused > 0, "every bit may be turned");
}

void check_detection() {
  const NetworkDescription<float> n = test::network(test::sizes(1, 2));
  const std::string nam = test::nam_text(n, std::vector<float>(4));
  CHECK(detect(view(test::rtneural_text(n))) == Format::kRtneural, "RTNeural");
  CHECK(detect(view(test::proteus_text(n))) == Format::kProteus, "Proteus");
  CHECK(detect(view(nam)) == Format::kNam && detect(view("\xef\xbb\xbf \n" + nam)) == Format::kNam, "NAM");
  CHECK(detect(view(write_network(n))) == Format::kSafetensors, "safetensors");
  ReadOptions as_nam;
  as_nam.format = Format::kNam;
  fails(test::rtneural_text(n), "lacks 'architecture'", Fault::kMalformed, as_nam);
}

void check_description() {
  const auto bad = [](const auto& change, const std::string& part) {
    NetworkDescription<float> n = full_network<float>();
    change(n);
    try {
      write_network(n);
    } catch (const std::invalid_argument& error) {
      CHECK(std::string(error.what()).find(part) != std::string::npos, "%s", error.what());
      return;
    }
    CHECK(false, "wrote what should fail with \"%s\"", part.c_str());
  };
  bad([](auto& n) { n.layers.pop_back(); }, "layers: must have 4 entries (num_layers * directions), got 3");
  bad([](auto& n) { n.layers[1].b_ih = {}; }, "bias_ih_l0_reverse: must have 16 elements, got 0");
  bad([](auto& n) { n.head->outputs = 0; }, "head: must have at least 1 output, got 0");
  bad([](auto& n) { n.head->outputs = 3; }, "head.weight: must have 3 * 4 elements, got 8");
  bad([](auto& n) { n.head->bias = Values<float>({1.0f}); }, "head.bias: must have 2 elements, got 1");
  bad([](auto& n) { n.input_mean = Values<float>({1.0f}); }, "input_mean: must have 3 elements, got 1");
  bad([](auto& n) { n.input_scale = Values<float>({1.0f, 0.0f, 1.0f}); }, "input_scale: must not be zero");
  bad([](auto& n) { n.initial_c = {}; }, "initial_c: must have 16 elements, got 0");
  bad([](auto& n) { n.input_gain = NAN; }, "input_gain: must be finite");
  bad([](auto& n) { n.sample_rate = 0.0; }, "sample_rate: must be positive and finite");
  bad([](auto& n) { n.self_test->steps = 4; }, "self_test.input: must have");
  bad([](auto& n) { n.metadata["a"] = "\xff"; }, "metadata: must be UTF-8");
  bad([](auto& n) { n.head.reset(); }, "skip: must be 0 where the output is wider (4) than the input (3)");
}

// Files that releases have written.
void check_stored(const std::string& folder) {
  for (const std::string name : {"plain", "layers", "projected", "double"}) {
    const std::string path = folder + "/" + name + "-0.1.0.safetensors";
    const File file = read_bytes(path);
    const AnyNetwork network = read_network(view(file));
    CHECK(std::holds_alternative<NetworkDescription<double>>(network) == (name == "double"), "%s",
          path.c_str());
    std::visit(
        [&](const auto& n) {
          CHECK(!n.is_network && !n.head, "%s", path.c_str());
          using S = typename std::decay_t<decltype(n)>::Scalar;
          same_network(n, read<S>(write_network(n)));
        },
        network);
  }
}

void check_paths(const std::string& folder) {
  const std::string path = folder + "/test_files.bin";
  const File content(100'000, 'x');
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(content.data()), 100'000);
  CHECK(read_bytes(path) == content && read_bytes(path, 100'000) == content, "not what was written");
  const auto unreadable = [](const std::string& name, std::size_t limit, Fault fault) {
    try {
      read_bytes(name, limit);
    } catch (const FileError& error) {
      CHECK(error.fault() == fault && std::string(error.what()).rfind(name + ": ", 0) == 0, "%s",
            error.what());
      return;
    }
    CHECK(false, "read %s", name.c_str());
  };
  unreadable(path, 99'999, Fault::kTooLarge);
  unreadable("/dev/zero", 1 << 20, Fault::kTooLarge);
  unreadable(folder, 1, Fault::kUnreadable);
  std::remove(path.c_str());
  unreadable(path, 1, Fault::kUnreadable);
}

}  // namespace

int main(int argc, char** argv) {
  check_ours<float>();
  check_ours<double>();
  check_our_files();
  check_tensor_headers();
  check_limits();
  check_detection();
  check_description();
  CHECK(argc == 3, "usage: test_files FOLDER_OF_STORED_FILES FOLDER_FOR_TEMPORARY_FILES");
  check_stored(argv[1]);
  check_paths(argv[2]);
  const NetworkDescription<float> small = test::network(test::sizes(1, 1));
  check_damaged(tiny(kTiny));
  check_damaged(write_network(small));
  check_damaged(test::rtneural_text(small, R"(,"in_skip":1,"in_gain":1.5,"samplerate":"48000")"));
  check_damaged(test::proteus_text(small, ",\"skip\":1"));
  check_damaged(test::nam_text(small, {0.5f, -0.5f}, ",\"sample_rate\":48000"));
  std::puts("files: passed");
}
