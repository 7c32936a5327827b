#!/bin/sh
# A SLURM of one node on this machine, without systemd, to rehearse a seed study on it (docs/how-to/seed-studies.md).
#
#   apt-get install --no-install-recommends slurmctld slurmd slurm-client munge      # Debian's packages
#   scripts/one_node_slurm.sh start DIR     # as root; DIR is new: keys, state and logs. Takes /etc/slurm/slurm.conf
#   scripts/one_node_slurm.sh stop DIR
set -eu

command=${1:?start or stop}
place=$(realpath -m "${2:?a folder}")

start() {
    mkdir -p "$place/state" "$place/spool" "$place/log" "$place/munge"
    chmod 700 "$place/munge" "$place/log"
    umask 077
    head -c 1024 /dev/urandom > "$place/munge/key"
    munged --force --key-file="$place/munge/key" --socket="$place/munge/socket" --pid-file="$place/munge/pid" \
        --log-file="$place/munge/log" --seed-file="$place/munge/seed"
    umask 022
    # Memory is not counted and no process is put into a cgroup: a container may do neither. A finished job is
    # remembered for an hour, since without a database only squeue can say how it ended.
    cat > "$place/slurm.conf" <<END
ClusterName=rehearsal
SlurmctldHost=$(hostname)(127.0.0.1)
AuthInfo=socket=$place/munge/socket
SlurmUser=root
SlurmdUser=root
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/log/slurmctld
SlurmdLogFile=$place/log/slurmd
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobRequeue=1
MinJobAge=3600
KillWait=60
ReturnToService=2
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
    # The executor takes SLURM's variables out of a job's environment: a job looks where clusters have the file.
    mkdir -p /etc/slurm
    ln -sfn "$place/slurm.conf" /etc/slurm/slurm.conf
    slurmctld
    slurmd
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sinfo --noheader --format=%t 2> /dev/null | grep -q idle && break
        sleep 1
    done
    sinfo
}

stop() {
    for pid in "$place/slurmd.pid" "$place/slurmctld.pid" "$place/munge/pid"; do
        if [ -f "$pid" ]; then kill "$(cat "$pid")"; fi
    done
    rm -f /etc/slurm/slurm.conf
}

case $command in
start) start ;;
stop) stop ;;
*) echo "one_node_slurm.sh: $command is unknown: start or stop" >&2; exit 2 ;;
esac
