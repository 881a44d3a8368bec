/* A sound card for tests, as a plugin of alsa-lib: it takes what a real card would take, refuses what a real card
 * would refuse, writes what it plays to a file, and runs empty or is pulled out after so many samples.
 *
 * Sound is played the moment that it is written, so nothing waits. Options, all but `file` with a default:
 *   file "PATH"       where the interleaved samples go
 *   busy true         another program has the card
 *   rate 44100        the only rate (0: any)
 *   format "S16_LE"   the only format (none: those of a real card, and FLOAT_LE)
 *   channels 2        the only number of channels (0: 1 to 8)
 *   period 256        the only period in samples (0: any)
 *   underrun_at 1000  runs empty once that many samples have been played (-1: never)
 *   gone_at 1000      is pulled out then (-1: never)
 */
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <sys/eventfd.h>

typedef struct {
	snd_pcm_ioplug_t io;
	FILE *file;
	snd_pcm_uframes_t position;
	long n_played, underrun_at, gone_at;
	int underrun;
} card_t;

static int card_start(snd_pcm_ioplug_t *io) { (void)io; return 0; }
static int card_stop(snd_pcm_ioplug_t *io) { (void)io; return 0; }

static int card_prepare(snd_pcm_ioplug_t *io)
{
	card_t *card = io->private_data;
	card->position = 0;
	card->underrun = 0;
	return 0;
}

static snd_pcm_sframes_t card_pointer(snd_pcm_ioplug_t *io)
{
	card_t *card = io->private_data;
	return card->underrun ? -EPIPE : (snd_pcm_sframes_t)(card->position % io->buffer_size);
}

static snd_pcm_sframes_t card_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
				       snd_pcm_uframes_t offset, snd_pcm_uframes_t size)
{
	card_t *card = io->private_data;
	size_t frame = areas[0].step / 8;
	if (card->gone_at >= 0 && card->n_played >= card->gone_at)
		return -ENODEV;
	fwrite((char *)areas[0].addr + areas[0].first / 8 + offset * frame, frame, size, card->file);
	card->position += size;
	card->n_played += size;
	if (card->underrun_at >= 0 && card->n_played >= card->underrun_at) {
		card->underrun = 1;
		card->underrun_at = -1;
	}
	return size;
}

static int card_close(snd_pcm_ioplug_t *io)
{
	card_t *card = io->private_data;
	fclose(card->file);
	close(io->poll_fd);
	free(card);
	return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
	.start = card_start, .stop = card_stop, .prepare = card_prepare, .pointer = card_pointer,
	.transfer = card_transfer, .close = card_close,
};

static int constrain(snd_pcm_ioplug_t *io, long rate, const char *format, long channels, long period)
{
	static const unsigned int access[] = { SND_PCM_ACCESS_RW_INTERLEAVED };
	static const unsigned int formats[] = { SND_PCM_FORMAT_S16_LE, SND_PCM_FORMAT_S24_LE, SND_PCM_FORMAT_S24_3LE,
						SND_PCM_FORMAT_S32_LE, SND_PCM_FORMAT_FLOAT_LE };
	unsigned int only = format ? snd_pcm_format_value(format) : 0;
	unsigned int one_rate = rate;
	int res;
	if ((res = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 1, access)) < 0 ||
	    (res = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, format ? 1 : 5,
						 format ? &only : formats)) < 0 ||
	    (res = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, channels ? channels : 1,
						   channels ? channels : 8)) < 0 ||
	    (res = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_BUFFER_BYTES, 64, 1 << 20)) < 0 ||
	    (res = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 1024)) < 0)
		return res;
	if (rate && (res = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_RATE, 1, &one_rate)) < 0)
		return res;
	if (period) {
		unsigned int bytes = period * (channels ? channels : 2) * snd_pcm_format_physical_width(only) / 8;
		return snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 1, &bytes);
	}
	return 0;
}

SND_PCM_PLUGIN_DEFINE_FUNC(dancecard)
{
	snd_config_iterator_t i, next;
	const char *path = NULL, *format = NULL;
	long rate = 0, channels = 0, period = 0, underrun_at = -1, gone_at = -1;
	int busy = 0, res;
	(void)root;
	snd_config_for_each(i, next, conf) {
		snd_config_t *n = snd_config_iterator_entry(i);
		const char *id;
		if (snd_config_get_id(n, &id) < 0)
			continue;
		if (!strcmp(id, "file")) snd_config_get_string(n, &path);
		else if (!strcmp(id, "format")) snd_config_get_string(n, &format);
		else if (!strcmp(id, "busy")) busy = snd_config_get_bool(n) == 1;
		else if (!strcmp(id, "rate")) snd_config_get_integer(n, &rate);
		else if (!strcmp(id, "channels")) snd_config_get_integer(n, &channels);
		else if (!strcmp(id, "period")) snd_config_get_integer(n, &period);
		else if (!strcmp(id, "underrun_at")) snd_config_get_integer(n, &underrun_at);
		else if (!strcmp(id, "gone_at")) snd_config_get_integer(n, &gone_at);
	}
	if (busy)
		return -EBUSY;
	card_t *card = calloc(1, sizeof(*card));
	if (!path || !card || !(card->file = fopen(path, "wb"))) {
		free(card);
		return -ENOENT;
	}
	card->underrun_at = underrun_at;
	card->gone_at = gone_at;
	card->io.version = SND_PCM_IOPLUG_VERSION;
	card->io.name = "A card for tests";
	card->io.callback = &callbacks;
	card->io.private_data = card;
	card->io.poll_fd = eventfd(0, EFD_CLOEXEC);
	card->io.poll_events = POLLOUT;
	if ((res = snd_pcm_ioplug_create(&card->io, name, stream, mode)) < 0) {
		fclose(card->file);
		free(card);
		return res;
	}
	if ((res = constrain(&card->io, rate, format, channels, period)) < 0) {
		snd_pcm_ioplug_delete(&card->io);
		return res;
	}
	*pcmp = card->io.pcm;
	return 0;
}
SND_PCM_PLUGIN_SYMBOL(dancecard);
