// A simulated CUDA device for a CPU build of torch: tensors that say cuda:N, whose memory is the
// host's and whose kernels are the CPU's.
//
// Like a GPU it refuses to mix devices, hands out memory that holds no zeros (NaN where nothing was
// written), counts what is in use of each device's memory and ends where that is full, and draws
// random numbers from a generator of each device. There are no streams: all is done at once.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/Resize.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/FakeGuardImpl.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/csrc/distributed/c10d/reducer_timer.hpp>
#include <torch/library.h>

#include <cstring>
#include <mutex>
#include <set>
#include <string>

namespace {

using at::Tensor;
using Guard = c10::impl::FakeGuardImpl<c10::DeviceType::CUDA>;

int64_t number_from(const char* variable, int64_t otherwise) {
  const char* text = getenv(variable);
  return text ? atoll(text) : otherwise;
}

const int GPUS = static_cast<int>(number_from("SIMULATED_GPUS", 1));
constexpr int MOST_GPUS = 16;

bool on_gpu(const Tensor& tensor) { return tensor.defined() && tensor.is_cuda(); }

// ---------------------------------------------------------------- memory

struct Memory {
  int64_t used = 0, peak = 0;
};

std::mutex memory_lock;
Memory memories[MOST_GPUS];
int64_t limit = number_from("SIMULATED_GPU_MEMORY_MB", 80'000) * 1'000'000;

void take(int device, int64_t bytes) {
  std::lock_guard<std::mutex> guard(memory_lock);
  Memory& memory = memories[device];
  TORCH_CHECK_WITH(OutOfMemoryError, memory.used + bytes <= limit,
      "CUDA out of memory. Tried to allocate ", bytes, " bytes. GPU ", device, " has ",
      limit - memory.used, " bytes free.");
  memory.used += bytes;
  memory.peak = std::max(memory.peak, memory.used);
}

void give_back(int device, int64_t bytes) {
  std::lock_guard<std::mutex> guard(memory_lock);
  memories[device].used -= bytes;
}

// What a tensor on a device holds: memory of its own, or a CPU kernel's result.
struct Block {
  Block(int gpu, int64_t size, void* own, c10::Storage of_cpu)
      : device(gpu), bytes(size), data(own), result(std::move(of_cpu)) {}
  ~Block() {
    if (data) c10::free_cpu(data);
    give_back(device, bytes);
  }
  int device;
  int64_t bytes;
  void* data;
  c10::Storage result;
  static void release(void* block) { delete static_cast<Block*>(block); }
};

struct DeviceAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    const auto device = Guard::getDeviceIndex();
    take(device, bytes);
    void* data = c10::alloc_cpu(bytes ? bytes : 1);
    memset(data, 0xFF, bytes);  // NaN in every floating-point type
    auto* block = new Block(device, bytes, data, {});
    return {data, block, &Block::release, c10::Device(c10::DeviceType::CUDA, device)};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override { memcpy(to, from, bytes); }
} device_allocator;

std::mutex pinned_lock;
std::set<const void*> pinned;

struct PinnedAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = c10::alloc_cpu(bytes ? bytes : 1);
    std::lock_guard<std::mutex> guard(pinned_lock);
    pinned.insert(data);
    return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
  }
  static void release(void* data) {
    {
      std::lock_guard<std::mutex> guard(pinned_lock);
      pinned.erase(data);
    }
    c10::free_cpu(data);
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { memcpy(to, from, bytes); }
} pinned_allocator;

// ---------------------------------------------------------------- tensors seen from both sides

Tensor tensor_over(c10::Storage storage, const Tensor& like, c10::DispatchKey key) {
  Tensor made = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(key), like.dtype());
  made.unsafeGetTensorImpl()->set_storage_offset(like.storage_offset());
  made.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides());
  return made;
}

// A tensor on the CPU over the memory of one on a device, which it keeps alive.
Tensor as_cpu(const Tensor& tensor) {
  auto* kept = new c10::Storage(tensor.storage());
  c10::DataPtr data(const_cast<void*>(kept->data()), kept,
      [](void* storage) { delete static_cast<c10::Storage*>(storage); },
      c10::Device(c10::DeviceType::CPU));
  c10::Storage storage(c10::Storage::use_byte_size_t(), kept->nbytes(), std::move(data),
      c10::GetCPUAllocator(), true);
  return tensor_over(std::move(storage), tensor, c10::DispatchKey::CPU);
}

// A CPU kernel's result as a tensor on a device, of whose memory it takes as much.
Tensor as_gpu(const Tensor& result, c10::Device device) {
  const c10::Storage& of_cpu = result.storage();
  take(device.index(), of_cpu.nbytes());
  auto* block = new Block(device.index(), of_cpu.nbytes(), nullptr, of_cpu);
  c10::DataPtr data(const_cast<void*>(of_cpu.data()), block, &Block::release, device);
  c10::Storage storage(c10::Storage::use_byte_size_t(), of_cpu.nbytes(), std::move(data),
      &device_allocator, true);
  return tensor_over(std::move(storage), result, c10::DispatchKey::CUDA);
}

// ---------------------------------------------------------------- random numbers

std::mutex generator_lock;
Tensor generator_states[MOST_GPUS];

// While it lives the CPU's generator is in the state of a device's, which is kept in the end.
struct GeneratorOf {
  explicit GeneratorOf(int device) : device(device), guard(generator_lock) {
    before = generator.get_state();
    if (!generator_states[device].defined()) generator_states[device] = before.clone();
    generator.set_state(generator_states[device]);
  }
  ~GeneratorOf() {
    generator_states[device] = generator.get_state();
    generator.set_state(before);
  }
  int device;
  std::lock_guard<std::mutex> guard;
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  Tensor before;
};

// ---------------------------------------------------------------- operations

Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>,
    std::optional<at::MemoryFormat> format) {
  c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &device_allocator,
      c10::DispatchKeySet(c10::DispatchKey::CUDA), at::dtype_or_default(dtype), format);
}

Tensor empty_strided(c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
    std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<at::Device> device, std::optional<bool>) {
  c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(size),
      C10_AS_INTARRAYREF_SLOW(stride), &device_allocator,
      c10::DispatchKeySet(c10::DispatchKey::CUDA), at::dtype_or_default(dtype));
}

Tensor& copy_(Tensor& to, const Tensor& from, bool) {
  Tensor there = on_gpu(to) ? as_cpu(to) : to;
  there.copy_(on_gpu(from) ? as_cpu(from) : from);
  return to;
}

const Tensor& resize_(
    const Tensor& tensor, c10::SymIntArrayRef size, std::optional<at::MemoryFormat>) {
  auto sizes = C10_AS_INTARRAYREF_SLOW(size);
  int64_t count = tensor.storage_offset();
  count += c10::multiply_integers(sizes);
  const size_t bytes = count * tensor.itemsize();
  if (bytes > tensor.storage().nbytes()) {
    c10::DeviceGuard guard(tensor.device());
    auto data = device_allocator.allocate(bytes);
    memcpy(data.get(), tensor.storage().data(), tensor.storage().nbytes());
    tensor.storage().set_data_ptr_noswap(std::move(data));
    tensor.storage().set_nbytes(bytes);
  }
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  return tensor;
}

at::Scalar local_scalar_dense(const Tensor& tensor) { return as_cpu(tensor).item(); }

// Applies `change` to every tensor of an operation's arguments or results.
template <typename Change>
void change_tensors(c10::IValue& value, Change change) {
  if (value.isTensor()) {
    value = change(value.toTensor());
  } else if (value.isTensorList()) {
    std::vector<Tensor> list;
    for (const Tensor& tensor : value.toTensorVector()) list.push_back(change(tensor));
    value = list;
  } else if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> list;
    for (std::optional<Tensor> tensor : value.toOptionalTensorList())
      list.push_back(tensor ? std::optional<Tensor>(change(*tensor)) : tensor);
    value = list;
  }
}

// Any other operation: the CPU's kernel over the same memory.
void on_the_cpu(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const std::string& name = schema.name();
  std::vector<std::pair<Tensor, Tensor>> seen;  // on the device, and from the CPU's side
  std::optional<c10::Device> device;
  bool with_cpu_tensor = false;

  auto to_cpu = [&](const Tensor& tensor) -> Tensor {
    if (!tensor.defined()) return tensor;
    if (!on_gpu(tensor)) {
      with_cpu_tensor = with_cpu_tensor || tensor.dim() > 0;  // a lone number may come from the CPU
      return tensor;
    }
    TORCH_CHECK(!device || *device == tensor.device(),
        "Expected all tensors to be on the same device: ", name, " mixes ", *device, " and ",
        tensor.device());
    device = tensor.device();
    for (auto& [original, alias] : seen)
      if (original.unsafeGetTensorImpl() == tensor.unsafeGetTensorImpl()) return alias;
    seen.emplace_back(tensor, as_cpu(tensor));
    return seen.back().second;
  };
  const auto first = stack->size() - schema.arguments().size();
  for (auto place = first; place < stack->size(); place++) {
    c10::IValue& value = (*stack)[place];
    if (value.isDevice() && value.toDevice().is_cuda()) {
      if (!device) device = value.toDevice();
      value = c10::Device(c10::DeviceType::CPU);
    } else {
      change_tensors(value, to_cpu);
    }
  }
  TORCH_CHECK(!(device && with_cpu_tensor),
      "Expected all tensors to be on the same device: ", name, " mixes cpu and ", *device);
  if (!device) device = c10::Device(c10::DeviceType::CUDA, Guard::getDeviceIndex());

  {
    std::optional<GeneratorOf> generator;
    if (op.hasTag(at::Tag::nondeterministic_seeded)) generator.emplace(device->index());
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  }

  for (auto& [original, alias] : seen) {  // an output given as argument may have been resized
    if (alias.storage().data() == original.storage().data() && alias.sizes() == original.sizes())
      continue;
    Tensor moved = as_gpu(alias, *device);
    original.unsafeGetTensorImpl()->set_storage_keep_dtype(moved.storage());
    original.unsafeGetTensorImpl()->set_storage_offset(moved.storage_offset());
    original.unsafeGetTensorImpl()->set_sizes_and_strides(moved.sizes(), moved.strides());
  }
  auto to_gpu = [&](const Tensor& tensor) -> Tensor {
    if (!tensor.defined() || !tensor.is_cpu()) return tensor;
    for (auto& [original, alias] : seen)
      if (alias.unsafeGetTensorImpl() == tensor.unsafeGetTensorImpl()) return original;
    for (auto& [original, alias] : seen)  // a view
      if (tensor.storage().data() && alias.storage().data() == tensor.storage().data())
        return tensor_over(c10::Storage(original.storage()), tensor, c10::DispatchKey::CUDA);
    return as_gpu(tensor, *device);
  };
  for (auto place = stack->size() - schema.returns().size(); place < stack->size(); place++)
    change_tensors((*stack)[place], to_gpu);
}

c10::impl::FakeGuardImpl<c10::DeviceType::CUDA> guard_impl;
c10::impl::DeviceGuardImplRegistrar guard_registrar(c10::DeviceType::CUDA, &guard_impl);

}  // namespace

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&on_the_cpu>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("as_strided", [](const Tensor& tensor, at::IntArrayRef sizes, at::IntArrayRef strides,
      std::optional<int64_t> offset) {
    return at::native::as_strided_tensorimpl(tensor, sizes, strides, offset);
  });
  library.impl("view", [](const Tensor& tensor, at::IntArrayRef sizes) {
    return at::native::view(tensor, sizes);
  });
  library.impl("_reshape_alias", [](const Tensor& tensor, at::IntArrayRef sizes,
      at::IntArrayRef strides) { return at::native::_reshape_alias(tensor, sizes, strides); });
  library.impl("copy_", copy_);
  library.impl("resize_", resize_);
  library.impl("_local_scalar_dense", local_scalar_dense);
}

namespace at {
struct CUDAHooks : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasCuDNN() const override { return false; }
  long versionCUDART() const override { return 13000; }
  DeviceIndex deviceCount() const override { return GPUS; }
  int getNumGPUs() const override { return GPUS; }
  DeviceIndex current_device() const override { return Guard::getDeviceIndex(); }
  DeviceIndex getCurrentDevice() const override { return Guard::getDeviceIndex(); }
  void setCurrentDevice(DeviceIndex index) const override { Guard::setDeviceIndex(index); }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  bool isPinnedPtr(const void* data) const override {
    std::lock_guard<std::mutex> guard(pinned_lock);
    return pinned.count(data);
  }
  Allocator* getPinnedMemoryAllocator() const override { return &pinned_allocator; }
  const Generator& getDefaultGenerator(DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};
using at::CUDAHooksRegistry;
using at::RegistererCUDAHooksRegistry;
REGISTER_CUDA_HOOKS(CUDAHooks);
}  // namespace at

namespace c10d {
struct NoTimer : Timer {
  explicit NoTimer(c10::Device) {}
  std::optional<int64_t> measureDifference(Event, Event) override { return std::nullopt; }
};
C10_REGISTER_TYPED_CLASS(TimerRegistry, c10::kCUDA, NoTimer);
}  // namespace c10d

// ---------------------------------------------------------------- for Python

extern "C" {
void set_device(int index) { Guard::setDeviceIndex(index); }
int get_device() { return Guard::getDeviceIndex(); }
int64_t memory_used(int device) { return memories[device].used; }
int64_t memory_peak(int device) { return memories[device].peak; }
int64_t memory_limit() { return limit; }
void set_memory_limit(int64_t bytes) { limit = bytes; }
void reset_memory_peak(int device) {
  std::lock_guard<std::mutex> guard(memory_lock);
  memories[device].peak = memories[device].used;
}
int64_t generator_bytes() { return at::detail::getDefaultCPUGenerator().get_state().numel(); }
void get_generator(int device, void* state) {
  GeneratorOf of(device);
  memcpy(state, of.generator.get_state().data_ptr(), generator_bytes());
}
void set_generator(int device, const void* state) {
  Tensor copy = at::empty({generator_bytes()}, at::kByte);
  memcpy(copy.data_ptr(), state, copy.numel());
  std::lock_guard<std::mutex> guard(generator_lock);
  generator_states[device] = copy;
}
}
