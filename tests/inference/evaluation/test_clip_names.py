from anchorweave.recordings.search import find_recordings
from inference.evaluation.clip_names import readable


def test_rooms_are_called_by_what_tells_them_apart():
    clips = list(find_recordings("procedural:seed=7..9,frames=30,size=48x64"))
    assert list(readable(clips).values()) == ["room 7", "room 8", "room 9"]
    other = list(find_recordings("procedural:seed=7,frames=30,size=48x64,errors=3"))
    names = readable([clips[0], *other])
    assert names == {clips[0]: "room 7", other[0]: "room 7 (errors=3)"}


def test_other_clips_keep_their_names():
    clips = ["kitchen", "scene-00_hall", "procedural", "procedural-", "procedural-x=1-", "a=1-b=2"]
    assert readable(clips) == {clip: clip for clip in clips}


def test_no_two_clips_are_called_the_same():
    clips = ["procedural-seed=1", "room 1", "room 1", "procedural-seed=2"]
    names = readable(clips)
    assert names["procedural-seed=1"] == "procedural-seed=1" and names["room 1"] == "room 1"
    assert names["procedural-seed=2"] == "room 2"
