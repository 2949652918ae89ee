#!/bin/sh
# Make what deploy/compose.yaml needs to start: passwords, each made up here, once. What is there already stays.
#
# The folder is its owner's alone. The files in it are readable, as each container reads its own under a user of its own.
set -eu
umask 077
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"

made_up() { # 32 bytes, as letters and digits that mean nothing in a URL or a configuration file
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

keep() { # keep FILE: what comes in, unless the file is there; it is whole or not there at all
  if [ -e "$folder/$1" ]; then
    cat > /dev/null
    return
  fi
  cat > "$folder/.$1.new"
  [ -s "$folder/.$1.new" ] || { echo "nothing came for $1" >&2; exit 1; }
  chmod 444 "$folder/.$1.new"
  mv "$folder/.$1.new" "$folder/$1"
  echo "made $folder/$1"
}

made_up | keep rabbitmq_password
made_up | keep mongo_password
made_up | keep grafana_password
rabbitmq=$(cat "$folder/rabbitmq_password")
mongo=$(cat "$folder/mongo_password")
printf 'default_user = agentbus\ndefault_pass = %s\n' "$rabbitmq" | keep rabbitmq.conf
printf 'amqp://agentbus:%s@rabbitmq:5672/' "$rabbitmq" | keep amqp_url
printf 'mongodb://agentbus:%s@mongo:27017/agentbus?authSource=admin&replicaSet=agentbus' "$mongo" | keep store_url
printf '{}\n' | keep channels.json
