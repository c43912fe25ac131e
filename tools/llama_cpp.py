"""llama.cpp's C functions, as the wheel xllamacpp has them: a model and a context of it, for tools that compare with it."""
import ctypes
import glob
import pathlib
import sys

BATCH = 2048  # tokens that one llama_decode takes
PART = 512    # that it computes at a time


class Parameters(ctypes.Structure):
    """llama_model_params and llama_context_params are passed by value and grow from version to version; both are shorter than this."""
    _fields_ = [("bytes", ctypes.c_uint32 * 128)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


def load_library():
    try:
        import xllamacpp
    except ImportError:
        sys.exit("the wheel xllamacpp is not installed; python -m pip install xllamacpp")
    lib = ctypes.CDLL(glob.glob(str(pathlib.Path(xllamacpp.__file__).parent / "*.so"))[0])
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    for name, result, arguments in (
            ("llama_model_default_params", Parameters, []), ("llama_context_default_params", Parameters, []),
            ("llama_model_load_from_file", pointer, [ctypes.c_char_p, Parameters]), ("llama_model_get_vocab", pointer, [pointer]),
            ("llama_vocab_n_tokens", number, [pointer]), ("llama_init_from_model", pointer, [pointer, Parameters]),
            ("llama_free", None, [pointer]), ("llama_set_n_threads", None, [pointer, number, number]),
            ("llama_get_memory", pointer, [pointer]), ("llama_synchronize", None, [pointer]),
            ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), [pointer, number]),
            ("llama_memory_seq_rm", ctypes.c_bool, [pointer, number, number, number]), ("llama_decode", number, [pointer, Batch]),
            ("llama_batch_init", Batch, [number] * 3), ("llama_print_system_info", ctypes.c_char_p, [])):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, pointer)(lambda level, text, data: None)
    lib.llama_log_set(lib.quiet, None)
    lib.llama_backend_init()
    return lib, xllamacpp.__version__


def open_model(lib, path):
    model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    if not model:
        sys.exit(f"{path}: llama.cpp cannot load it")
    return model


def open_context(lib, model, positions, sequences, threads):
    """A context of `positions` for each sequence, with keys and values in f16."""
    parameters = lib.llama_context_default_params()
    if tuple(parameters.bytes[1:4]) != (2048, 512, 1):
        sys.exit("this version of llama.cpp begins llama_context_params with other fields; adapt tools/llama_cpp.py")
    # n_ctx (of all sequences together, each a multiple of 256), n_batch, n_ubatch, n_seq_max
    parameters.bytes[0:4] = [(positions + 255) // 256 * 256 * sequences, BATCH, PART, sequences]
    context = lib.llama_init_from_model(model, parameters)
    if not context:
        sys.exit(f"llama.cpp cannot hold {sequences} sequences of {positions} positions")
    lib.llama_set_n_threads(context, threads, threads)
    return context
