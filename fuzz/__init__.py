"""Long campaigns against damaged and hostile files: `python -m fuzz` (see `fuzz.campaign` for what counts as what).

Every case is made from its campaign's name, the seed and its number by plain mutation, so any one can be made again
alone: `python -m fuzz --only pictures --first 123 --count 1`. Nothing is guided by coverage: atheris needs clang to
build, and OpenVINO, OpenCV and FFmpeg come without the instrumentation it would need.
"""
