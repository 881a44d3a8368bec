/* A sound card for a container, which has none: a plugin of alsa-lib that plays by the system's clock, like a card by its
 * own. It runs empty when nobody feeds it, and keeps of what it plays how loud it was.
 *
 *   levels "PATH"   gets, for each 10 ms that was taken, two doubles: CLOCK_MONOTONIC in s, root mean square (1: full scale)
 *   gone "PATH"     while there is such a file, the card is pulled out
 */
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <math.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>

typedef struct {
	snd_pcm_ioplug_t io;
	FILE *levels;
	char *gone;
	double start_s, energy;
	uint64_t n_taken;
	unsigned int n_summed;
} card_t;

static double now_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec * 1e-9;
}

static int is_gone(const card_t *card) { return card->gone && access(card->gone, F_OK) == 0; }

static int card_start(snd_pcm_ioplug_t *io)
{
	((card_t *)io->private_data)->start_s = now_s();
	return 0;
}

static int card_stop(snd_pcm_ioplug_t *io) { (void)io; return 0; }

static int card_prepare(snd_pcm_ioplug_t *io)
{
	((card_t *)io->private_data)->n_taken = 0;
	return 0;
}

static snd_pcm_sframes_t card_pointer(snd_pcm_ioplug_t *io)
{
	card_t *card = io->private_data;
	uint64_t n_played = (uint64_t)((now_s() - card->start_s) * io->rate);
	if (is_gone(card))
		return -ENODEV;
	if (io->state != SND_PCM_STATE_RUNNING)
		return 0;
	return n_played >= card->n_taken ? -EPIPE : (snd_pcm_sframes_t)(n_played % io->buffer_size);
}

static snd_pcm_sframes_t card_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
				       snd_pcm_uframes_t offset, snd_pcm_uframes_t size)
{
	card_t *card = io->private_data;
	const char *first = (const char *)areas[0].addr + areas[0].first / 8;
	if (is_gone(card))
		return -ENODEV;
	for (snd_pcm_uframes_t i = 0; i < size; i++) {
		double sample = *(const int16_t *)(first + (offset + i) * (areas[0].step / 8)) / 32768.0;
		card->energy += sample * sample;
		if (++card->n_summed < io->rate / 100)
			continue;
		double said[2] = { now_s(), sqrt(card->energy / card->n_summed) };
		if (card->levels)
			fwrite(said, sizeof(said), 1, card->levels);
		card->energy = 0.0;
		card->n_summed = 0;
	}
	if (card->levels)
		fflush(card->levels);
	card->n_taken += size;
	return size;
}

static int card_close(snd_pcm_ioplug_t *io)
{
	card_t *card = io->private_data;
	if (card->levels)
		fclose(card->levels);
	close(io->poll_fd);
	free(card->gone);
	free(card);
	return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
	.start = card_start, .stop = card_stop, .prepare = card_prepare, .pointer = card_pointer,
	.transfer = card_transfer, .close = card_close,
};

static int constrain(snd_pcm_ioplug_t *io)
{
	static const unsigned int access[] = { SND_PCM_ACCESS_RW_INTERLEAVED }, format[] = { SND_PCM_FORMAT_S16_LE };
	int res;
	if ((res = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 1, access)) < 0 ||
	    (res = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 1, format)) < 0 ||
	    (res = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, 2, 2)) < 0 ||
	    (res = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_BUFFER_BYTES, 64, 1 << 20)) < 0)
		return res;
	return snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 64);
}

SND_PCM_PLUGIN_DEFINE_FUNC(clockcard)
{
	snd_config_iterator_t i, next;
	const char *levels = NULL, *gone = NULL;
	int res;
	(void)root;
	snd_config_for_each(i, next, conf) {
		snd_config_t *n = snd_config_iterator_entry(i);
		const char *id;
		if (snd_config_get_id(n, &id) < 0)
			continue;
		if (!strcmp(id, "levels")) snd_config_get_string(n, &levels);
		else if (!strcmp(id, "gone")) snd_config_get_string(n, &gone);
	}
	if (gone && access(gone, F_OK) == 0)
		return -ENODEV;
	card_t *card = calloc(1, sizeof(*card));
	if (!card)
		return -ENOMEM;
	/* Who tries the card during the installation has no place for it. */
	card->levels = levels ? fopen(levels, "ab") : NULL;
	card->gone = gone ? strdup(gone) : NULL;
	card->io.version = SND_PCM_IOPLUG_VERSION;
	card->io.name = "A card that goes by the clock";
	card->io.callback = &callbacks;
	card->io.private_data = card;
	card->io.poll_fd = eventfd(0, EFD_CLOEXEC);
	card->io.poll_events = POLLOUT;
	if ((res = snd_pcm_ioplug_create(&card->io, name, stream, mode)) < 0) {
		card_close(&card->io);
		return res;
	}
	if ((res = constrain(&card->io)) < 0) {
		snd_pcm_ioplug_delete(&card->io);
		return res;
	}
	*pcmp = card->io.pcm;
	return 0;
}
SND_PCM_PLUGIN_SYMBOL(clockcard);
