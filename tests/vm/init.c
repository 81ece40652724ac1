// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's init: it prepares the machine, runs one command, and says how that
 * ended on a serial port of its own, so that nothing has to be read from a
 * console that the kernel writes to as well.
 *
 *	ttyS0	the kernel's console
 *	ttyS1	the command's standard output, or the interactive shell
 *	ttyS2	the command's standard error
 *	ttyS3	the verdict, one line each:
 *		up		the machine is ready, the command starts
 *		status N	the command's exit status, as a shell would give it
 *		leaks		kmemleak holds unreferenced objects (they are in the log)
 *		hang WHO	something did not end in time
 *		broken WHY	the machine could not be prepared
 *
 * What to do comes with the run's own archive: /vm/argv and /vm/env, each word
 * ended by a NUL, so that any word can be given. Without argv: a shell.
 *
 * Everything but the pulses (guest.h) runs as process 1, in one thread: the command's
 * output comes in by two pipes and is copied to the ports until the command has ended
 * and the pipes are empty. Whatever the command left behind is then killed and reaped; a process
 * that survives SIGKILL is a hang.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"

static int verdict_port = -1;

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static void write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		buf += n;
		len -= n;
	}
}

static void verdict(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	strcat(line, "\n");
	write_all(verdict_port, line, strlen(line));
	tcdrain(verdict_port);
}

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	/* The machine has no power button that works: a reset ends it too. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

void broken(const char *fmt, ...)
{
	char why[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	verdict("broken %s", why);
	power_off();
}

/* A port that passes every byte as it is. */
static int open_port(const char *path)
{
	struct termios tio;
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (!tcgetattr(fd, &tio)) {
		cfmakeraw(&tio);
		cfsetspeed(&tio, B115200);
		tio.c_cflag |= CLOCAL;
		tcsetattr(fd, TCSANOW, &tio);
	}
	return fd;
}

/* A file of words, each ended by a NUL, as a vector; NULL if there is none. */
static char **read_words(const char *path)
{
	size_t len = 0, room = 1 << 16, n = 0, i;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text, **words;
	ssize_t got;

	if (fd < 0)
		return NULL;
	text = malloc(room);
	while (text && (got = read(fd, text + len, room - len)) > 0) {
		len += got;
		if (len == room)
			text = realloc(text, room *= 2);
	}
	close(fd);
	words = text ? calloc(len + 1, sizeof(*words)) : NULL;
	if (!words)
		broken("no memory for %s", path);
	for (i = 0; i < len; i += strlen(text + i) + 1)
		words[n++] = text + i;
	return words;
}

/* The child's side of the fork: a session of its own, the words as given. */
static void __attribute__((noreturn)) exec_command(char **argv, int out, int err)
{
	sigset_t none;
	int in = open("/dev/null", O_RDONLY);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 ||
	    chdir("/add"))
		_exit(126);
	if (in > 2)
		close(in);
	execvp(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* A port that a shell can be used at. */
static void make_terminal(int fd)
{
	struct termios tio;

	if (tcgetattr(fd, &tio))
		return;
	tio.c_iflag |= ICRNL | IUTF8;
	tio.c_oflag |= OPOST | ONLCR;
	tio.c_lflag |= ISIG | ICANON | ECHO | ECHOE | ECHOK | IEXTEN;
	tcsetattr(fd, TCSANOW, &tio);
}

static void __attribute__((noreturn)) exec_shell(const char *port)
{
	static char *const argv[] = { "-sh", NULL };
	sigset_t none;
	int fd;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	fd = open(port, O_RDWR);
	if (fd < 0 || ioctl(fd, TIOCSCTTY, 0))
		_exit(126);
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
	if (chdir("/add"))
		_exit(126);
	execv("/bin/sh", argv);
	_exit(127);
}

struct stream {
	int pipe;	/* the end we read, -1 after its end */
	int port;
};

/* Copy what is there now; false when there is nothing left to come. */
static bool copy_some(struct stream *s)
{
	char buf[4096];
	ssize_t n;

	if (s->pipe < 0)
		return false;
	n = read(s->pipe, buf, sizeof(buf));
	if (n > 0) {
		write_all(s->port, buf, n);
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	close(s->pipe);
	s->pipe = -1;
	return false;
}

/* Reap every child that has ended; true if the command was among them. */
static bool reap(pid_t command, int *status)
{
	bool found = false;
	pid_t pid;
	int st;

	while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
		if (pid != command)
			continue;
		*status = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
		found = true;
	}
	return found;
}

/*
 * Copy output until the command has ended. Background processes may keep the
 * pipes open for ever, so their end is not waited for: what the command wrote
 * before its end is in the pipes by then. False if time ran out.
 */
static bool follow(pid_t command, struct stream *streams, int signals,
		   long long deadline, int *status)
{
	bool ended = false;

	while (!ended) {
		struct pollfd fds[3] = {
			{ .fd = streams[0].pipe, .events = POLLIN },
			{ .fd = streams[1].pipe, .events = POLLIN },
			{ .fd = signals, .events = POLLIN },
		};
		long long left = deadline ? deadline - now_ms() : -1;
		struct signalfd_siginfo info;

		if (deadline && left <= 0)
			return false;
		poll(fds, 3, left > INT_MAX ? INT_MAX : left);
		while (read(signals, &info, sizeof(info)) > 0)
			;
		ended = reap(command, status);
		copy_some(&streams[0]);
		copy_some(&streams[1]);
	}
	while (copy_some(&streams[0]) | copy_some(&streams[1]))
		;
	return true;
}

/* End everything but us. False if something outlives SIGKILL by ten seconds. */
static bool kill_rest(int signals)
{
	long long limit = now_ms() + 10000;
	struct signalfd_siginfo info;
	struct pollfd fd = { .fd = signals, .events = POLLIN };

	kill(-1, SIGKILL);
	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0 && errno == ECHILD)
			return true;
		if (pid > 0)
			continue;
		if (now_ms() >= limit)
			return false;
		poll(&fd, 1, limit - now_ms());
		while (read(signals, &info, sizeof(info)) > 0)
			;
	}
}

static int run_command(char **argv, int out_port, int err_port, int signals,
		       long long deadline)
{
	int out[2], err[2], status = 125;
	struct stream streams[2];
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		broken("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		broken("fork: %s", strerror(errno));
	if (!pid)
		exec_command(argv, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	streams[0] = (struct stream){ .pipe = out[0], .port = out_port };
	streams[1] = (struct stream){ .pipe = err[0], .port = err_port };
	if (!follow(pid, streams, signals, deadline, &status)) {
		dump_tasks();
		verdict("hang %s", argv[0]);
		power_off();
	}
	tcdrain(out_port);
	tcdrain(err_port);
	return status;
}

static int run_shell(int signals)
{
	struct signalfd_siginfo info;
	struct pollfd fd = { .fd = signals, .events = POLLIN };
	int status = 125;
	pid_t pid = fork();

	if (pid < 0)
		broken("fork: %s", strerror(errno));
	if (!pid)
		exec_shell("/dev/ttyS1");
	while (!reap(pid, &status)) {
		poll(&fd, 1, -1);
		while (read(signals, &info, sizeof(info)) > 0)
			;
	}
	return status;
}

int main(void)
{
	const char *limit;
	int out, err, signals, status;
	long long deadline = 0;
	char **argv, **env;
	sigset_t chld;

	prepare_mounts();
	verdict_port = open_port("/dev/ttyS3");
	out = open_port("/dev/ttyS1");
	err = open_port("/dev/ttyS2");
	if (verdict_port < 0 || out < 0 || err < 0)
		power_off();
	env = read_words("/vm/env");
	for (; env && *env; env++)
		putenv(*env);
	prepare_machine();
	prepare_devices();

	/* SIGCHLD comes in by a descriptor, so that poll() sees it. */
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	signals = signalfd(-1, &chld, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signals < 0)
		broken("signalfd: %s", strerror(errno));
	limit = getenv("VM_LIMIT_MS");
	if (limit)
		deadline = atoll(limit);
	unsetenv("VM_LIMIT_MS");

	argv = read_words("/vm/argv");
	/* What is typed may come as soon as we are up. */
	if (!argv)
		make_terminal(out);
	start_pulses();
	verdict("up");
	status = argv ? run_command(argv, out, err, signals, deadline) :
			run_shell(signals);
	if (!kill_rest(signals)) {
		dump_tasks();
		verdict("hang a process that SIGKILL does not end");
		power_off();
	}
	start_pulses();
	if (find_leaks())
		verdict("leaks");
	verdict("status %d", status);
	power_off();
}
