#!/bin/sh
### BEGIN INIT INFO
# Provides:          @NAME@
# Required-Start:    $local_fs $remote_fs $network
# Required-Stop:     $local_fs $remote_fs $network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: PM2 process manager (Pilothouse)
### END INIT INFO
# chkconfig: 2345 98 02
# description: keeps the programs of @USER@ running

# May set limits and variables for the manager and its apps.
[ -r /etc/default/@NAME@ ] && . /etc/default/@NAME@

manager() {
    su -s /bin/sh -c "exec env PATH=@PATH@ PM2_HOME=@HOME@ @PROGRAM@ $*" @USER@
}

case "$1" in
    start) manager resurrect ;;
    stop) manager kill ;;
    restart) manager kill && manager resurrect ;;
    reload | force-reload) manager reload all ;;
    status) manager list ;;
    *)
        echo "Usage: $0 {start|stop|restart|reload|force-reload|status}" >&2
        exit 2
        ;;
esac
