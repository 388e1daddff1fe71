#!/sbin/openrc-run

description="PM2 process manager (Pilothouse)"
extra_started_commands="reload"

depend() {
    need net
    use logger
}

manager() {
    su -s /bin/sh -c "exec env PATH=@PATH@ PM2_HOME=@HOME@ @PROGRAM@ $*" @USER@
}

start() {
    ebegin "Starting ${RC_SVCNAME}"
    manager resurrect
    eend $?
}

stop() {
    ebegin "Stopping ${RC_SVCNAME}"
    manager kill
    eend $?
}

reload() {
    ebegin "Reloading ${RC_SVCNAME}"
    manager reload all
    eend $?
}

status() {
    manager list
}
