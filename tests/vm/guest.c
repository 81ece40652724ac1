// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest machine's own setting up, for init.c: file systems, limits, the BAR
 * device on vfio-pci, the drive. What keeps the processors awake. And the leak scan at
 * the end.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"

#define PCI_DEVICES "/sys/bus/pci/devices"
#define PROVE_LOCKING "/sys/module/lockdep/parameters/prove_locking"
#define KMEMLEAK "/sys/kernel/debug/kmemleak"

#define PULSE_S 0.25
#define MAX_PULSES 64

/* Registers of the NVMe controller's persistent memory region. */
#define PMRCTL 0xe04
#define PMRCTL_EN 1u

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* A file's first line, without its end or blanks at it; empty if unreadable. */
static const char *read_line(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
	for (n = strlen(buf); n > 0 && buf[n - 1] == ' '; n--)
		buf[n - 1] = 0;
	return buf;
}

void prepare_mounts(void)
{
	static const struct {
		const char *type, *at, *options;
	} mounts[] = {
		{ "proc", "/proc", NULL },
		{ "sysfs", "/sys", NULL },
		{ "devtmpfs", "/dev", NULL },
		{ "devpts", "/dev/pts", NULL },
		{ "tmpfs", "/dev/shm", NULL },
		{ "tmpfs", "/tmp", NULL },
		{ "tmpfs", "/run", NULL },
		{ "debugfs", "/sys/kernel/debug", NULL },
		{ "tracefs", "/sys/kernel/tracing", NULL },
		{ "cgroup2", "/sys/fs/cgroup", NULL },
		{ "hugetlbfs", "/dev/hugepages", NULL },
	};
	size_t i;

	/* What a kernel was built without is not there; the commands will see. */
	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].at, 0755);
		mount(mounts[i].type, mounts[i].at, mounts[i].type, 0, mounts[i].options);
	}
	/* A devtmpfs may have them already. */
	(void)!symlink("/proc/self/fd", "/dev/fd");
	(void)!symlink("fd/0", "/dev/stdin");
	(void)!symlink("fd/1", "/dev/stdout");
	(void)!symlink("fd/2", "/dev/stderr");
	mkdir("/add", 0755);
	mkdir("/mnt", 0755);
}

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
}

void prepare_machine(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit files = { 65536, 65536 };

	setrlimit(RLIMIT_MEMLOCK, &all);
	setrlimit(RLIMIT_NOFILE, &files);
	setenv("PATH", "/usr/local/bin:/usr/sbin:/usr/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("TMPDIR", "/tmp", 1);
	unsetenv("BOOT_IMAGE");
	if (sethostname("bario", 5))
		broken("sethostname: %s", strerror(errno));
	loopback_up();
	/* The scan at the end is the only one: it alone waits for both passes. */
	write_file(KMEMLEAK, "scan=off");
}

/* The device's BAR exists: an NVMe drive and an NVMe exporter differ by that. */
static bool has_bar(const char *bdf, int bar)
{
	char path[PATH_MAX], text[128];
	unsigned long long start = 0, end = 0;
	FILE *f;
	int i;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource", bdf);
	f = fopen(path, "re");
	if (!f)
		return false;
	for (i = 0; i <= bar && fgets(text, sizeof(text), f); i++)
		if (sscanf(text, "%llx %llx", &start, &end) != 2)
			break;
	fclose(f);
	return i == bar + 1 && end > start;
}

static bool has_id(const char *bdf, const char *id)
{
	char path[PATH_MAX], vendor[32], device[32], both[64];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/vendor", bdf);
	read_line(path, vendor, sizeof(vendor));
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/device", bdf);
	read_line(path, device, sizeof(device));
	if (strlen(vendor) < 3 || strlen(device) < 3)
		return false;
	snprintf(both, sizeof(both), "%s:%s", vendor + 2, device + 2);
	return !strcmp(both, id);
}

/* Of several the first: machines with more add theirs behind it. */
static void find_bar_device(char *bdf, size_t size)
{
	const char *id = getenv("VM_BAR_ID"), *bar = getenv("BARIO_BAR");
	struct dirent *de;
	DIR *dir = opendir(PCI_DEVICES);

	if (!id || !bar || !dir)
		broken("no PCI, or nothing says which BAR is meant");
	bdf[0] = 0;
	while ((de = readdir(dir)))
		if (has_id(de->d_name, id) && has_bar(de->d_name, atoi(bar)) &&
		    (!bdf[0] || strcmp(de->d_name, bdf) < 0))
			snprintf(bdf, size, "%.*s", (int)size - 1, de->d_name);
	closedir(dir);
	if (!bdf[0])
		broken("no device %s with a BAR %s", id, bar);
}

/* The persistent memory region is no memory until the controller is told so. */
static void enable_pmr(const char *bdf)
{
	char path[PATH_MAX];
	volatile char *regs;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/enable", bdf);
	write_file(path, "1");
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource0", bdf);
	fd = open(path, O_RDWR | O_CLOEXEC);
	regs = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					  MAP_SHARED, fd, 0);
	if (regs == MAP_FAILED)
		broken("cannot map the registers of %s: %s", bdf, strerror(errno));
	*(volatile unsigned int *)(regs + PMRCTL) = PMRCTL_EN;
	munmap((void *)regs, 4096);
	close(fd);
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/enable", bdf);
	write_file(path, "0");
}

static void bind_vfio(const char *bdf)
{
	char path[PATH_MAX], driver[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver/unbind", bdf);
	write_file(path, bdf);
	if (getenv("VM_PMR"))
		enable_pmr(bdf);
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver_override", bdf);
	write_file(path, "vfio-pci");
	write_file("/sys/bus/pci/drivers_probe", bdf);
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver", bdf);
	n = readlink(path, driver, sizeof(driver) - 1);
	driver[n > 0 ? n : 0] = 0;
	if (!strstr(driver, "/vfio-pci"))
		broken("%s is not bound to vfio-pci; the kernel log says why", bdf);
}

/* The drive's block device, once its controller has found the namespace. */
static bool find_drive(const char *serial, char *path, size_t size)
{
	char file[PATH_MAX], text[64];
	struct dirent *de;
	DIR *dir = opendir("/sys/class/nvme");

	path[0] = 0;
	while (dir && (de = readdir(dir))) {
		if (strncmp(de->d_name, "nvme", 4))
			continue;
		snprintf(file, sizeof(file), "/sys/class/nvme/%s/serial", de->d_name);
		if (strcmp(read_line(file, text, sizeof(text)), serial))
			continue;
		snprintf(path, size, "/dev/%.32sn1", de->d_name);
	}
	if (dir)
		closedir(dir);
	return path[0] && !access(path, F_OK);
}

/* Namespaces are scanned in the background: every new node in /dev is a look. */
static void wait_for_drive(char *path, size_t size)
{
	const char *serial = getenv("VM_DRIVE_SERIAL");
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char events[4096];

	if (fd < 0 || inotify_add_watch(fd, "/dev", IN_CREATE) < 0)
		broken("inotify: %s", strerror(errno));
	while (!find_drive(serial ? serial : "", path, size)) {
		if (poll(&pfd, 1, 60000) == 0)
			broken("the NVMe drive did not come up within a minute");
		while (read(fd, events, sizeof(events)) > 0)
			;
	}
	close(fd);
}

void prepare_devices(void)
{
	char bdf[64], drive[64];

	find_bar_device(bdf, sizeof(bdf));
	bind_vfio(bdf);
	wait_for_drive(drive, sizeof(drive));
	setenv("BARIO_BDF", bdf, 1);
	setenv("BARIO_NVME", drive, 1);
	unsetenv("VM_BAR_ID");
	unsetenv("VM_PMR");
	unsetenv("VM_DRIVE_SERIAL");
}

/*
 * Who is blocked; when each processor's timer is due; and which processors idle, for
 * lost_timer() in machine.sh.
 */
void dump_tasks(void)
{
	write_file("/proc/sysrq-trigger", "w");
	write_file("/proc/sysrq-trigger", "q");
	write_file("/proc/sysrq-trigger", "l");
}

/* Seconds since the machine started. */
static double uptime(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/*
 * A time that is long over: to start a timer for it has this processor's next event set
 * again, if that was due and did not come. Nobody waits for this one, as its event may be
 * the next to be lost.
 */
static void set_event_again(int timer)
{
	const struct itimerspec past = { .it_value.tv_nsec = 1 };

	timerfd_settime(timer, TFD_TIMER_ABSTIME, &past, NULL);
}

static void __attribute__((noreturn)) pulse(int cpu, int own, int other)
{
	struct pollfd fd = { .fd = own, .events = POLLIN };
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	double next = 0, left;
	char bytes[64];
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	/* not to wait for a swap on the drive that is tested */
	if (timer < 0 || sched_setaffinity(0, sizeof(set), &set) || prctl(PR_SET_NAME, "pulse") ||
	    mlockall(MCL_CURRENT | MCL_FUTURE))
		_exit(1);
	/* what takes all memory is to be ended, not this */
	write_file("/proc/self/oom_score_adj", "-1000");
	for (;;) {
		left = next - uptime();
		if (poll(&fd, 1, left > 0 ? left * 1000 : 0) > 0 && read(own, bytes, sizeof(bytes)) <= 0)
			_exit(1);
		set_event_again(timer);
		if (uptime() < next)
			continue;
		/* full, it wakes the other one as well */
		if (write(other, "", 1) < 0 && errno != EAGAIN)
			_exit(1);
		next = uptime() + PULSE_S;
	}
}

void start_pulses(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int pipes[MAX_PULSES][2];
	long i;

	if (cpus < 2 || cpus > MAX_PULSES)
		return;
	for (i = 0; i < cpus; i++)
		if (pipe2(pipes[i], O_CLOEXEC | O_NONBLOCK))
			broken("pipe: %s", strerror(errno));
	for (i = 0; i < cpus; i++) {
		pid_t pid = fork();

		if (pid < 0)
			broken("fork: %s", strerror(errno));
		if (!pid)
			pulse(i, pipes[i][0], pipes[(i + 1) % cpus][1]);
	}
	for (i = 0; i < cpus; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

static bool copy_leaks(bool say)
{
	char line[1024], said[sizeof(line) + 32];
	bool any = false;
	FILE *f = fopen(KMEMLEAK, "re");
	int log = say ? open("/dev/kmsg", O_WRONLY | O_CLOEXEC) : -1;

	while (f && fgets(line, sizeof(line), f)) {
		any = true;
		/* Not dprintf(), which asks for the position; a log has none. */
		snprintf(said, sizeof(said), "<4>bario leak: %s", line);
		if (log >= 0 && write(log, said, strlen(said)) < 0)
			break;
	}
	if (f)
		fclose(f);
	if (log >= 0)
		close(log);
	return any;
}

static void scan(void)
{
	write_file(KMEMLEAK, "scan");
}

static bool scan_for_leaks(void)
{
	/* kmemleak reports nothing that is younger than five seconds as its scan begins. */
	const double old_enough = uptime() + 5.2;
	double left;

	/* One scan does not tell: it looks whether an object has changed since the last. */
	scan();
	left = old_enough - uptime();
	if (left > 0)
		usleep(left * 1e6);
	scan();
	if (!copy_leaks(false))
		return false;
	/* A pointer on the move looks like a leak once, not twice. */
	scan();
	return copy_leaks(true);
}

/* Whose locks are millions, and always the same: a third of the time is lockdep's. */
bool find_leaks(void)
{
	char proves[16];
	bool any;

	if (access(KMEMLEAK, F_OK))
		return false;
	/* as it was, then: some machines are started without it */
	read_line(PROVE_LOCKING, proves, sizeof(proves));
	write_file(PROVE_LOCKING, "0");
	any = scan_for_leaks();
	write_file(PROVE_LOCKING, proves);
	return any;
}
