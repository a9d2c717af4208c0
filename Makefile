# The two commands: make demo, make check. All others are parts of them, or for installing.
PYTHON ?= /usr/bin/python3
DESTDIR ?=
OCF_ROOT ?= /usr/lib/ocf
AGENTS = $(notdir $(wildcard agents/*))
VENV = .venv/bin/python

.PHONY: help prepare demo demo-down tour check check-style check-unit check-services \
	check-cluster bench deb lab-down install install-files \
	uninstall golden clean

help:
	@echo "make demo            a cluster of two nodes loses the active one and serves on (KEEP=1: it stays, to play with)"
	@echo "make demo-down       remove every trace of it"
	@echo "make tour            the agents drive real OpenStack services through start, faults and stop"
	@echo "make check           all tests; what cannot run here is left out, and the summary says why"
	@echo "make check-unit      the tests that need neither root nor services (also: check-style, check-services, check-cluster)"
	@echo "make bench           what each call costs"
	@echo "make deb             the Debian package, to build/ (as root; the tools are not installed on the host)"
	@echo "make lab-down        remove what an interrupted run has left behind"
	@echo "make install         agents and library to $(OCF_ROOT) (DESTDIR= for packages)"

# Installs what the commands need, and says so: packages of the host (as root), a virtual environment.
prepare:
	@$(PYTHON) tools/prepare.py

demo: prepare
	@$(VENV) -m tools.demo

tour: prepare
	@$(VENV) -m tools.tour

# Also what demo has left running with KEEP=1.
demo-down lab-down:
	@$(PYTHON) -m lab down

check: prepare
	@$(VENV) -m tools.check

check-style check-unit check-services check-cluster: prepare
	@$(VENV) -m tools.check $(subst check-,,$@)

bench: prepare
	@$(VENV) -m tools.bench

# The meta-data of every agent, as tests compare it: to be looked at with git diff after a wanted change.
golden:
	@for agent in $(AGENTS); do agents/$$agent meta-data > tests/golden/$$agent.xml; done

# The Debian package, to build/: built in a chroot that has what dpkg-buildpackage needs.
deb: prepare
	@$(VENV) -m lab package build

install: install-files
	# A compiled library is what makes a call cheap. The path inside is the one after installation.
	$(PYTHON) -m compileall -q -d $(OCF_ROOT)/lib/openstack/ocf_common $(DESTDIR)$(OCF_ROOT)/lib/openstack/ocf_common

# What a package holds; it compiles the library where it is installed.
install-files:
	install -d $(DESTDIR)$(OCF_ROOT)/resource.d/openstack $(DESTDIR)$(OCF_ROOT)/lib/openstack/ocf_common
	install -m 0755 $(addprefix agents/,$(AGENTS)) $(DESTDIR)$(OCF_ROOT)/resource.d/openstack/
	install -m 0644 $(wildcard ocf_common/*.py) $(DESTDIR)$(OCF_ROOT)/lib/openstack/ocf_common/
	install -d $(DESTDIR)/etc/logrotate.d
	install -m 0644 $(wildcard packaging/logrotate.d/*) $(DESTDIR)/etc/logrotate.d/

uninstall:
	rm -f $(addprefix $(DESTDIR)$(OCF_ROOT)/resource.d/openstack/,$(AGENTS))
	rm -rf $(DESTDIR)$(OCF_ROOT)/lib/openstack/ocf_common
	rm -f $(DESTDIR)/etc/logrotate.d/openstack-resource-agents

clean:
	rm -rf .venv .venv-* build dist *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
