# Sets `venv` to the Python environment with TensorFlow, and makes it if it is not there or another version is asked for.
# Sourced from the root of the repository, so that TensorFlow is fetched once for all who need it.
venv=target/interop/venv
if ! cmp -s tests/interop/requirements.txt "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
    cp tests/interop/requirements.txt "$venv/requirements.txt"
fi
