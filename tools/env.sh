# Sourced by the Makefile: puts the tools that tools/bootstrap.sh installed for this checkout in front.
PATH="$PWD/target/tools/bin:$PWD/target/tools/node_modules/.bin:$HOME/.cargo/bin:$PATH"
export PATH
