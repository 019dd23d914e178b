# Six bands of 16 bits as made by demo.multispectral; mean and std by tools/channel_statistics.py.
channel_mean = [3516, 4067, 4407, 4952, 5514, 4499]
channel_std = [2112, 1850, 2264, 1706, 1639, 1024]
# From two standard deviations below the mean to two above, as SatMAE (Cong et al. 2022) scales Sentinel-2's bands.
channel_range = [[mean - 2 * std, mean + 2 * std] for mean, std in zip(channel_mean, channel_std, strict=True)]
color_channels = (2, 1, 0)  # red, green and blue among the bands
load_channels = dict(type='mmbeitv2.LoadChannels', channels=6, dtype='uint16')
