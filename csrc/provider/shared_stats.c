/* Who did what: each process writes its own line in the header, so that counting costs no shared cache line. A line
 * outlives its process and goes on with the next one; the total is the sum of all. */
#include "shared_store.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static zbz_shared_line *lines(const zbz_shared *sh) {
	return (zbz_shared_line *)(void *)(sh->base + ZBZ_SHARED_HEADER - ZBZ_SHARED_LINES * sizeof(zbz_shared_line));
}

static bool abandoned(uint32_t pid) { return pid == 0 || (kill((pid_t)pid, 0) != 0 && errno == ESRCH); }

/* The first free one; with more processes than lines the last is shared by the rest. */
static zbz_shared_line *take_line(const zbz_shared *sh) {
	zbz_shared_line *all = lines(sh);
	uint32_t me = (uint32_t)getpid(), i;
	for (i = 0; i < ZBZ_SHARED_LINES - 1; i++) {
		uint32_t pid = zbz_hload(&all[i].pid);
		if (abandoned(pid) && atomic_compare_exchange_strong(&all[i].pid, &pid, me)) return &all[i];
	}
	return &all[ZBZ_SHARED_LINES - 1];
}

void zbz_shared_adopt(zbz_shared *sh) {
	unsigned now = zbz_fork_generation(), was = atomic_load(&sh->generation);
	zbz_shared_line *line;
	int i;
	/* one thread goes and takes a line; what others count meanwhile goes to the parent's */
	if (atomic_load(&sh->line) != NULL && (was == now || !atomic_compare_exchange_strong(&sh->generation, &was, now)))
		return;
	line = take_line(sh);
	for (i = 0; i < ZBZ_SHARED_COUNTS; i++) zbz_wstore(&sh->before[i], zbz_wload(&line->count[i]));
	atomic_store(&sh->line, line);
	atomic_store(&sh->generation, now);
}

void zbz_shared_forget(zbz_shared *sh) {
	zbz_shared_line *line = atomic_load(&sh->line);
	uint32_t me = (uint32_t)getpid();
	if (line != NULL) atomic_compare_exchange_strong(&line->pid, &me, 0);
}

static uint64_t since(uint64_t now, uint64_t before) { return now > before ? now - before : 0; }

void zbz_shared_totals_read(zbz_shared *sh, zbz_shared_totals *all, zbz_shared_totals *mine) {
	const zbz_shared_line *own = zbz_shared_line_of(sh);
	uint32_t i, k;
	memset(all, 0, sizeof *all);
	memset(mine, 0, sizeof *mine);
	for (k = 0; k < ZBZ_SHARED_COUNTS; k++) {
		for (i = 0; i < ZBZ_SHARED_LINES; i++) all->count[k] += zbz_wload(&lines(sh)[i].count[k]);
		mine->count[k] = since(zbz_wload(&own->count[k]), zbz_wload(&sh->before[k]));
	}
	all->memory = sh->g.shards_at;
	for (i = 0; i < sh->g.shards; i++) {
		const zbz_shared_shard *s = zbz_shared_shard_at(sh, i);
		all->keys += zbz_hload(&s->items);
		all->evictions += zbz_wload(&s->evictions);
		all->expired += zbz_wload(&s->expired);
		all->memory += ((uint64_t)sh->g.ring_at[0] + zbz_hload(&s->ring[0].used) + zbz_hload(&s->ring[1].used)) * 8;
	}
}
