"""TensorRT and TensorRT-RTX, 10.3 to 11.x: one code, the module is the parameter.

Only what every one of these releases has is called; `tests/runtime/test_tensorrt_contract.py` holds that
against their real bindings.
"""
